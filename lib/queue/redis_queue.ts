import type { GroupId, MessageId } from "../ids.ts";
import type { Log } from "../telemetry/log_fields.ts";
import type { Doorbell, LaneHead, Lease, PushResult, Queue } from "./queue.ts";
import { RedisBell } from "./redis_bell.ts";
import { pause, RedisConnection, RedisFault, type RedisServer } from "./redis_connection.ts";
import {
  pushScript,
  releaseScript,
  type Script,
  settleScript,
  surveyScript,
  takeScript,
} from "./redis_scripts.ts";

/** One queue in a Redis (7.0 or later) or Valkey server; every process that names the same stream shares it. */
export interface RedisQueueOptions extends RedisServer {
  /** `queue.stream_name`: every key begins with it, in braces. */
  readonly streamName: string;
  /** `queue.group_name`: the consumer group. */
  readonly groupName: string;
  /**
   * Names this process among all workers, the same after a restart: what a process of this name left behind is handed
   * out again at once. Without it nothing is left to anybody, and leases end with their time.
   */
  readonly consumer?: string;
  /** How long an entry is its taker's before it is handed out again. */
  readonly leaseMs: number;
  /** The longest that one command may take; 3 s when it is left out. */
  readonly timeoutMs?: number;
  readonly log: Log;
}

/**
 * Opens the queue. Throws when the server refuses the login or cannot prove who it is; a server that is not reachable
 * is tried for as long as the queue is open, at least once a second.
 */
export async function openRedisQueue(options: RedisQueueOptions): Promise<Queue> {
  const timeoutMs = options.timeoutMs ?? 3_000;
  const commands = new RedisConnection(options, timeoutMs, options.log);
  await commands.open();
  return new RedisQueue(commands, options, timeoutMs);
}

const pushAtOnce = 500;
const settleAtOnce = 200;
const surveyAtOnce = 500;
const moveAtOnce = 500;
const maxTaken = 1_000;
const pollMs = 1_000;
const faultPauseMs = 250;
const releaseEveryMs = 1_000;

interface Settlement {
  readonly lease: Lease;
  readonly delayMs: number;
  readonly end: PromiseWithResolvers<void>;
}

class RedisQueue implements Queue {
  readonly #commands: RedisConnection;
  readonly #bell: RedisBell;
  readonly #prefix: string;
  readonly #groupName: string;
  readonly #leaseMs: number;
  readonly #name: string;
  readonly #own: string;
  readonly #closing = new AbortController();
  /** What this process was handed and has not settled, and when that lease ends; oldest first. */
  readonly #held = new Map<string, number>();
  #settling: Settlement[] = [];
  #incarnation = 0;
  #releaseFrom: string | undefined;
  #releaseUntil = 0;
  #nextRelease = 0;

  constructor(commands: RedisConnection, options: RedisQueueOptions, timeoutMs: number) {
    this.#commands = commands;
    this.#prefix = `{${options.streamName}}:`;
    this.#bell = new RedisBell(
      new RedisConnection(options, timeoutMs, options.log),
      `${this.#prefix}bell`,
      timeoutMs,
    );
    this.#groupName = options.groupName;
    this.#leaseMs = options.leaseMs;
    this.#name = `${options.consumer ?? crypto.randomUUID()}:`;
    this.#own = `${this.#name}${crypto.randomUUID()}:`;
    this.#releaseFrom = this.#name;
  }

  async push(bells: readonly Doorbell[], delayMs = 0): Promise<readonly PushResult[]> {
    const results: PushResult[] = [];
    for (let at = 0; at < bells.length; at += pushAtOnce) {
      results.push(...await this.#pushSome(bells.slice(at, at + pushAtOnce), delayMs));
    }
    return results;
  }

  async reserve(
    max: number,
    waitMs: number,
    skip?: ReadonlySet<GroupId>,
    signal?: AbortSignal,
  ): Promise<readonly Lease[]> {
    const until = performance.now() + waitMs;
    while (!this.#closing.signal.aborted && !signal?.aborted) {
      const left = until - performance.now();
      try {
        const { leases, more, bell, dueMs } = await this.#take(Math.min(max, maxTaken), skip ?? new Set());
        if (leases.length > 0) return leases;
        if (more) continue;
        if (left <= 0) break;
        await this.#bell.wait(bell, Math.max(1, Math.min(left, pollMs, dueMs)));
      } catch (error) {
        if (this.#closing.signal.aborted) break;
        if (left <= 0) throw error;
        await pause(Math.min(left, faultPauseMs), this.#closing.signal);
        await this.#commands.connected(Math.max(0, until - performance.now()));
      }
    }
    return [];
  }

  done(lease: Lease): Promise<void> {
    return this.#settle(lease, -1);
  }

  again(lease: Lease, delayMs: number): Promise<void> {
    return this.#settle(lease, Math.max(0, Math.ceil(delayMs)));
  }

  async depth(): Promise<{ readonly due: number; readonly delayed: number; readonly leased: number }> {
    let [due, leased] = [0, 0];
    for await (const lane of this.#survey()) {
      due += lane.due;
      leased += lane.leased;
    }
    const delayed = await this.#commands.send(["ZCARD", `${this.#prefix}delayed`]);
    return { due, delayed: Number(delayed), leased };
  }

  async heads(): Promise<readonly LaneHead[]> {
    const heads: LaneHead[] = [];
    for await (const { group, head } of this.#survey()) {
      // An entry's id begins with the server's time in ms when it was added.
      if (head !== "") heads.push({ group, rungAt: new Date(Number.parseInt(head)) });
    }
    return heads;
  }

  async epoch(): Promise<string | undefined> {
    const answer = await this.#commands.send(["GET", `${this.#prefix}epoch`]);
    return answer === null ? undefined : String(answer);
  }

  async beginEpoch(candidate: string): Promise<string> {
    const before = await this.#commands.send(["SET", `${this.#prefix}epoch`, candidate, "NX", "GET"]);
    return before === null ? candidate : String(before);
  }

  async ping(): Promise<void> {
    await this.#commands.send(["PING"]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#bell.close();
    await this.#commands[Symbol.asyncDispose]();
  }

  async #pushSome(bells: readonly Doorbell[], delayMs: number): Promise<readonly PushResult[]> {
    try {
      const args = bells.flatMap((bell) => [bell.group, bell.message]);
      const faults = texts(await this.#run(pushScript, [String(Math.ceil(delayMs)), ...args]));
      return bells.map((_, at) => pushResult(faults[at] ?? "no result"));
    } catch (error) {
      if (!(error instanceof RedisFault)) throw error;
      return bells.map(() => ({ ok: false, doubtful: error.kind === "unanswered", error }));
    }
  }

  async #take(max: number, skip: ReadonlySet<GroupId>) {
    const consumer = `${this.#own}${this.#incarnation}`;
    const limits = [max, this.#leaseMs, moveAtOnce].map(String);
    let answer: readonly string[];
    try {
      await this.#release(consumer);
      answer = texts(await this.#run(takeScript, [consumer, ...limits, ...skip]));
    } catch (error) {
      if (error instanceof RedisFault && error.kind === "unanswered") this.#expectLost(consumer);
      throw error;
    }
    const [more, dueMs, bell = "0-0", ...fields] = answer;
    const leases: Lease[] = [];
    for (let at = 0; at + 3 < fields.length; at += 4) {
      const [group = "", entry = "", message = "", count = ""] = fields.slice(at, at + 4);
      const token = `${entry} ${count} ${consumer}`;
      leases.push({ group: group as GroupId, message: message as MessageId, token });
      this.#held.set(`${group} ${entry}`, performance.now() + this.#leaseMs);
    }
    const soonest = Number(dueMs);
    return { leases, more: more === "1", bell, dueMs: soonest < 0 ? pollMs : soonest };
  }

  /**
   * An answer that never came may have handed out entries of which nobody knows. From here on this process takes under
   * another name, and lets go of what it holds under this one and does not know of: for a while, because a server that
   * hung may carry out the lost command only later.
   */
  #expectLost(consumer: string): void {
    if (consumer === `${this.#own}${this.#incarnation}`) this.#incarnation++;
    this.#releaseFrom ??= this.#own;
    this.#releaseUntil = performance.now() + 60_000;
    this.#nextRelease = 0;
  }

  async #release(consumer: string): Promise<void> {
    const now = performance.now();
    this.#forgetExpired(now);
    if (this.#releaseFrom === undefined || now < this.#nextRelease) return;
    this.#nextRelease = now + releaseEveryMs;
    await this.#run(releaseScript, [
      consumer,
      this.#releaseFrom,
      String(this.#leaseMs),
      ...this.#held.keys(),
    ]);
    this.#releaseFrom = now < this.#releaseUntil ? this.#own : undefined;
  }

  #forgetExpired(now: number): void {
    for (const [entry, end] of this.#held) {
      if (end > now) break;
      this.#held.delete(entry);
    }
  }

  /** What is settled in one turn of the event loop goes as one command. */
  #settle(lease: Lease, delayMs: number): Promise<void> {
    const end = Promise.withResolvers<void>();
    this.#settling.push({ lease, delayMs, end });
    if (this.#settling.length === 1) queueMicrotask(() => this.#settleAll());
    if (this.#settling.length >= settleAtOnce) this.#settleAll();
    return end.promise;
  }

  async #settleAll(): Promise<void> {
    const batch = this.#settling;
    if (batch.length === 0) return;
    this.#settling = [];
    const args = batch.flatMap(({ lease, delayMs }) => {
      const [entry = "", count = "", ...consumer] = lease.token.split(" ");
      this.#held.delete(`${lease.group} ${entry}`);
      return [lease.group, entry, count, consumer.join(" "), lease.message, String(delayMs)];
    });
    try {
      const faults = texts(await this.#run(settleScript, args));
      batch.forEach(({ end }, at) => faults[at] ? end.reject(refused(faults[at])) : end.resolve());
    } catch (error) {
      this.#expectLost(`${this.#own}${this.#incarnation}`);
      for (const { end } of batch) end.reject(error);
    }
  }

  async *#survey() {
    let from = "";
    do {
      const [next = "", ...fields] = texts(await this.#run(surveyScript, [String(surveyAtOnce), from]));
      for (let at = 0; at + 3 < fields.length; at += 4) {
        const [group = "", due, leased, head = ""] = fields.slice(at, at + 4);
        yield { group: group as GroupId, due: Number(due), leased: Number(leased), head };
      }
      from = next;
    } while (from !== "");
  }

  async #run(script: Script, args: readonly string[]): Promise<unknown> {
    const rest = ["1", `${this.#prefix}lanes`, this.#prefix, this.#groupName, ...args];
    try {
      return await this.#commands.send(["EVALSHA", script.sha, ...rest]);
    } catch (error) {
      if (!(error instanceof RedisFault && error.message.startsWith("NOSCRIPT"))) throw error;
      return await this.#commands.send(["EVAL", script.text, ...rest]);
    }
  }
}

function pushResult(fault: string): PushResult {
  return fault === "" ? { ok: true } : { ok: false, doubtful: false, error: refused(fault) };
}

function refused(fault: string): RedisFault {
  return new RedisFault("refused", `Redis refused an entry: ${fault}`);
}

function texts(answer: unknown): readonly string[] {
  if (!Array.isArray(answer)) throw new Error("Cannot read the answer of Redis: it is not a list");
  return answer.map(String);
}
