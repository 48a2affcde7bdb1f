import { openRedisQueue } from "../../lib/queue/redis_queue.ts";
import { queueContract } from "../contracts/queue_contract.ts";
import { memoryLog } from "../support/memory_log.ts";
import { startRedis } from "../support/redis.ts";
import { startTcpRelay } from "../support/tcp_relay.ts";

const leaseMs = 3_000;

queueContract({ name: "RedisQueue", leaseMs }, async () => {
  const redis = await startRedis();
  const relay = startTcpRelay(Number(redis.address.split(":")[1]));
  return {
    open: () =>
      openRedisQueue({
        address: relay.address,
        streamName: "smtp-proxy",
        groupName: "workers",
        leaseMs,
        timeoutMs: 1_500,
        log: memoryLog(),
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
