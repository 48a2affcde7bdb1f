import { openRedisQueue } from "../../lib/queue/redis_queue.ts";
import { queueContract } from "../contracts/queue_contract.ts";
import { memoryLog } from "../support/memory_log.ts";
import { startRedis } from "../support/redis.ts";
import { startTcpRelay } from "../support/tcp_relay.ts";

queueContract({ name: "RedisQueue", keepsLeases: true }, async () => {
  const redis = await startRedis();
  const relay = startTcpRelay(Number(redis.address.split(":")[1]));
  return {
    open: (limits) =>
      openRedisQueue({
        address: relay.address,
        streamName: "smtp-proxy",
        groupName: "workers",
        log: memoryLog(),
        ...limits,
      }),
    lose: async () => void await redis.command("FLUSHALL"),
    cut: () => relay.cut(),
    hang: () => relay.hang(),
    mend: () => relay.mend(),
    [Symbol.asyncDispose]: async () => {
      await relay[Symbol.asyncDispose]();
      await redis[Symbol.asyncDispose]();
    },
  };
});
