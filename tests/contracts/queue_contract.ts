import assert from "node:assert/strict";
import { type GroupId, newId } from "../../lib/ids.ts";
import type { Lease, Queue } from "../../lib/queue/queue.ts";
import {
  answering,
  bellOf,
  namesOf,
  patienceMs,
  pushCrossed,
  reserveAll,
  someBells,
  untilOneFails,
} from "../support/doorbells.ts";

/** One queue's contents in a server of the test's own, and the way to break both. */
export interface QueueWorld extends AsyncDisposable {
  /** The queue as one more process opens it. */
  open(limits: QueueLimits): Promise<Queue>;
  /** Empties it as a crash of its server would. */
  lose(): Promise<void>;
  /** Ends every connection and refuses new ones, until `mend`. */
  cut(): void;
  /** The server takes commands and answers nothing, until `mend`. */
  hang(): void;
  mend(): void;
}

/** The times of one process; a test whose promise is about one of them gives it a short one. */
export interface QueueLimits {
  /** How long an entry stays its taker's. */
  readonly leaseMs: number;
  /** The longest that one command is waited for. */
  readonly timeoutMs: number;
}

/** What differs by decision. */
export interface QueueTraits {
  readonly name: string;
  /** False where the message's row is the only lease (ruling 3.11). */
  readonly keepsLeases: boolean;
}

/** Nothing ends by itself while a machine stands still for a while. */
const longLimits: QueueLimits = { leaseMs: 3_600_000, timeoutMs: patienceMs };
/** So little that a server without answers is given up soon. */
const shortTimeoutMs = 1_000;

/** What every queue must do, as tests. */
export function queueContract(traits: QueueTraits, openWorld: () => Promise<QueueWorld>): void {
  const { name } = traits;
  const context = { traits, openWorld };

  check(context, "push() and reserve() hand out each doorbell once", async ({ queue }) => {
    const bells = someBells(5);
    assert.deepEqual(await queue.push(bells), bells.map(() => ({ ok: true })));
    const leases = await reserveAll(queue, 5, 100);
    assert.deepEqual(namesOf(leases), namesOf(bells));
    assert.deepEqual(await queue.reserve(5, 0), []);
  });

  check(context, "reserve() keeps a lane in the order of its pushes", async ({ queue }) => {
    const group = newId<GroupId>();
    const bells = someBells(30, group);
    for (const bell of bells) await queue.push([bell]);
    const leases = await reserveAll(queue, 30, 100);
    assert.deepEqual(leases.map(({ message }) => message), bells.map(({ message }) => message));
  });

  check(context, "done() ends a doorbell and leaves nothing behind", async ({ queue }) => {
    await queue.push(someBells(3));
    for (const lease of await reserveAll(queue, 3, 100)) await queue.done(lease);
    assert.deepEqual(await queue.depth(), { due: 0, delayed: 0, leased: 0 });
    assert.deepEqual(await queue.heads(), []);
  });

  check(context, "done() settles many leases at once", async ({ queue }) => {
    await queue.push(someBells(700));
    const leases = await reserveAll(queue, 700, 100);
    await Promise.all(leases.map((lease) => queue.done(lease)));
    assert.deepEqual(await queue.depth(), { due: 0, delayed: 0, leased: 0 });
  });

  check(context, "again() makes a doorbell due after its delay and not before", async ({ queue }) => {
    await queue.push(someBells(2));
    const [late, soon] = await reserveAll(queue, 2, 100);
    assert.ok(late && soon);
    await queue.again(late, 3_600_000);
    await queue.again(soon, 400);
    assert.deepEqual(await queue.depth(), { due: 0, delayed: 2, leased: 0 });
    const again = await queue.reserve(2, patienceMs);
    assert.deepEqual(namesOf(again), namesOf([soon]));
    assert.equal((await queue.depth()).delayed, 1);
    assert.deepEqual(await queue.reserve(2, 0), []);
  });

  check(
    context,
    "again() for a message that waits already keeps one doorbell, the sooner one",
    async ({ queue }) => {
      const [bell, other] = [bellOf(), bellOf()];
      await queue.push([bell, other], 3_600_000);
      await queue.push([bell, bell]);
      for (const lease of await reserveAll(queue, 2, 100)) await queue.again(lease, 1);
      assert.deepEqual(namesOf(await queue.reserve(10, patienceMs)), namesOf([bell]));
      assert.deepEqual(await queue.reserve(10, 0), []);
      assert.equal((await queue.depth()).delayed, 1);
      await queue.push([bell], 1);
      await queue.push([bell], 3_600_000);
      assert.deepEqual(namesOf(await queue.reserve(10, patienceMs)), namesOf([bell]));
    },
  );

  check(context, "again() without a delay makes a doorbell due at once", async ({ queue }) => {
    await queue.push(someBells(1));
    const [lease] = await reserveAll(queue, 1, 100);
    assert.ok(lease);
    await queue.again(lease, 0);
    assert.deepEqual(namesOf(await queue.reserve(1, patienceMs)), namesOf([lease]));
  });

  check(
    context,
    "push() with a delay is handed out in the order in which it falls due",
    async ({ queue }) => {
      const { late, soon } = await pushCrossed(queue);
      const now = bellOf();
      await queue.push([now]);
      const order: string[] = [];
      while (order.length < 3) {
        order.push(...(await queue.reserve(3, patienceMs)).map(({ message }) => message));
      }
      assert.deepEqual(order, [now.message, soon.message, late.message]);
    },
  );

  check(context, "reserve() hands out more delayed doorbells than fit into one move", async ({ queue }) => {
    const bells = someBells(1_300);
    await queue.push(bells, 50);
    assert.deepEqual(namesOf(await reserveAll(queue, 1_300, 100)), namesOf(bells));
  });

  check(
    context,
    "reserve() hands out nothing twice to eight takers at a time",
    async ({ queue, another }) => {
      const groups = Array.from({ length: 7 }, () => newId<GroupId>());
      const bells = Array.from({ length: 5_000 }, (_, at) => bellOf(groups[at % 7]));
      const pushed = (async () => {
        for (let at = 0; at < bells.length; at += 250) await queue.push(bells.slice(at, at + 250));
      })();
      const taken: Lease[] = [];
      const queues = [queue, await another(), await another(), queue];
      await untilOneFails([...queues, ...queues], async (one, going) => {
        while (going() && taken.length < bells.length) {
          const leases = await one.reserve(10, 200);
          taken.push(...leases);
          await Promise.all(leases.map((lease) => one.done(lease)));
        }
      });
      await pushed;
      assert.equal(taken.length, bells.length);
      assert.deepEqual(namesOf(taken), namesOf(bells));
      assert.deepEqual(await queue.depth(), { due: 0, delayed: 0, leased: 0 });
    },
  );

  check(context, "reserve() lets a lane in within two calls, whatever backlog another has", async (world) => {
    const { queue } = world;
    const other = await world.another();
    const [backlog, quiet] = [newId<GroupId>(), newId<GroupId>()];
    for (let at = 0; at < 100; at++) await queue.push(someBells(1_000, backlog));
    for (let times = 0; times < 3; times++) {
      await other.reserve(10, patienceMs);
      const bell = bellOf(quiet);
      await queue.push([bell]);
      const taken = [...await other.reserve(10, patienceMs), ...await other.reserve(10, patienceMs)];
      assert.ok(taken.some(({ message }) => message === bell.message), "the quiet lane waits");
      assert.ok(taken.some(({ group }) => group === backlog), "the lane with the backlog waits");
    }
  });

  check(context, "reserve() takes turns among lanes", async ({ queue }) => {
    const groups = Array.from({ length: 4 }, () => newId<GroupId>());
    await queue.push(groups.flatMap((group) => someBells(50, group)));
    const leases = await reserveAll(queue, 40, 8);
    for (const group of groups) assert.equal(leases.filter((lease) => lease.group === group).length, 10);
  });

  check(context, "reserve() gives nothing to the groups it is told to skip", async ({ queue }) => {
    const [busy, free] = [newId<GroupId>(), newId<GroupId>()];
    await queue.push([...someBells(20, busy), ...someBells(2, free)]);
    const leases = await reserveAll(queue, 2, 10, new Set([busy]));
    assert.deepEqual(leases.map(({ group }) => group), [free, free]);
    assert.deepEqual(await queue.reserve(10, 0, new Set([busy])), []);
    assert.equal((await reserveAll(queue, 20, 10)).length, 20);
  });

  check(context, "reserve() that waits is woken by a push, each time", async ({ queue, another }) => {
    const other = await another();
    for (let times = 0; times < 20; times++) {
      const waiting = other.reserve(1, patienceMs);
      const [bell] = someBells(1);
      assert.ok(bell);
      await queue.push([bell]);
      const leases = await waiting;
      assert.deepEqual(namesOf(leases), namesOf([bell]));
      for (const lease of leases) await other.done(lease);
    }
  });

  check(context, "reserve() that waits ends when its signal is aborted", async ({ queue }) => {
    const stop = new AbortController();
    const waiting = queue.reserve(1, patienceMs, new Set(), stop.signal);
    stop.abort();
    assert.deepEqual(await waiting, []);
  });

  check(context, "reserve() that waits ends when the queue is closed", async ({ another }) => {
    const other = await another();
    const waiting = [other.reserve(1, patienceMs), other.reserve(1, patienceMs)];
    await other[Symbol.asyncDispose]();
    assert.deepEqual(await Promise.all(waiting), [[], []]);
  });

  check(
    context,
    "heads() names every lane that has a due entry, with the time of its oldest",
    async ({ queue }) => {
      const [first, second, third] = [newId<GroupId>(), newId<GroupId>(), newId<GroupId>()];
      await queue.push(someBells(2, first));
      await queue.push([...someBells(1, first), ...someBells(1, second)]);
      await queue.push(someBells(1, third), 60_000);
      const before = new Map((await queue.heads()).map(({ group, rungAt }) => [group, rungAt]));
      assert.deepEqual([...before.keys()].sort(), [first, second].sort());
      await queue.reserve(1, patienceMs, new Set([second]));
      await queue.reserve(1, patienceMs, new Set([second]));
      const after = new Map((await queue.heads()).map(({ group, rungAt }) => [group, rungAt]));
      assert.ok(Number(after.get(first)) >= Number(before.get(first)));
      assert.equal(Number(after.get(second)), Number(before.get(second)));
    },
  );

  check(context, "depth() counts what is due, delayed and leased", async ({ queue }) => {
    await queue.push(someBells(30));
    await queue.push(someBells(4), 60_000);
    await reserveAll(queue, 10, 100);
    const leased = traits.keepsLeases ? 10 : 0;
    assert.deepEqual(await queue.depth(), { due: 20, delayed: 4, leased });
  });

  check(context, "beginEpoch() keeps the mark that stands, which goes with the contents", async (world) => {
    const { queue } = world;
    assert.equal(await queue.epoch(), undefined);
    assert.equal(await queue.beginEpoch("first"), "first");
    assert.equal(await queue.beginEpoch("second"), "first");
    assert.equal(await (await world.another()).epoch(), "first");
    await queue.push(someBells(3));
    await world.lose();
    assert.equal(await queue.epoch(), undefined);
    assert.deepEqual((await queue.depth()).due, 0);
    const marks = await Promise.all(["a", "b", "c"].map((mark) => queue.beginEpoch(mark)));
    assert.equal(new Set(marks).size, 1);
  });

  check(context, "push() and reserve() go on after the contents were lost", async (world) => {
    const { queue } = world;
    await queue.push(someBells(30));
    const held = await reserveAll(queue, 10, 100);
    await world.lose();
    const bells = someBells(5);
    assert.ok((await queue.push(bells)).every(({ ok }) => ok));
    assert.deepEqual(namesOf(await reserveAll(queue, 5, 100)), namesOf(bells));
    for (const lease of held) await queue.done(lease);
  });

  check(context, "push() answers in an outage, and everything goes on when it ends", async (world) => {
    const { queue } = world;
    await queue.push(someBells(2));
    world.cut();
    await assert.rejects(queue.ping());
    for (const result of await queue.push(someBells(3))) {
      assert.equal(result.ok, false);
      assert.ok(!result.ok && result.error instanceof Error);
    }
    await assert.rejects(queue.reserve(1, 0));
    const waiting = queue.reserve(2, patienceMs);
    world.mend();
    const taken = [...await waiting];
    while (taken.length < 2) taken.push(...await queue.reserve(2 - taken.length, patienceMs));
    assert.equal(taken.length, 2);
    await queue.ping();
  });

  check(context, "push() without an answer says that it is doubtful", async (world) => {
    const queue = await world.another({ timeoutMs: shortTimeoutMs });
    // What is asked next goes out on a connection that stands.
    await answering(queue);
    world.hang();
    const results = await queue.push(someBells(2));
    assert.deepEqual(results.map((result) => !result.ok && result.doubtful), [true, true]);
    world.mend();
    await answering(queue);
    const bell = bellOf();
    while (!(await queue.push([bell]))[0]?.ok) await answering(queue);
    for (let found = false; !found;) {
      const leases = await queue.reserve(10, patienceMs);
      found = leases.some(({ message }) => message === bell.message);
    }
  });

  if (traits.keepsLeases) leaseContract(context);

  check(context, `${name} closes twice and then refuses`, async ({ another }) => {
    const other = await another();
    await other[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
    assert.deepEqual((await other.push(someBells(1))).map(({ ok }) => ok), [false]);
    assert.deepEqual(await other.reserve(1, patienceMs), []);
  });
}

/** For queues that keep leases of their own. */
function leaseContract(context: Context): void {
  check(context, "reserve() hands out again what was not settled in its time", async ({ another }) => {
    const [queue, other] = [await another({ leaseMs: 1_000 }), await another({ leaseMs: 1_000 })];
    const bells = someBells(3);
    await queue.push(bells);
    // All of it in one answer: what is asked for later could be of the same ones, whose time is over.
    const first = await queue.reserve(3, patienceMs);
    assert.deepEqual(namesOf(first), namesOf(bells));
    const second = new Map<string, Lease>();
    while (second.size < 3) {
      const again = await other.reserve(3, patienceMs);
      assert.ok(again.length > 0, `only ${second.size} of 3 came`);
      for (const lease of again) second.set(lease.message, lease);
    }
    assert.deepEqual(namesOf([...second.values()]), namesOf(bells));
    for (const lease of first) await queue.done(lease);
    assert.equal((await queue.depth()).leased, 3, "a lease that ended may settle nothing");
    for (const lease of second.values()) await other.done(lease);
    assert.deepEqual(await queue.depth(), { due: 0, delayed: 0, leased: 0 });
  });

  check(context, "reserve() hands out at once what was taken in an answer that never came", async (world) => {
    const queue = await world.another({ timeoutMs: shortTimeoutMs });
    // Before a queue takes for the first time it asks for something else.
    await world.queue.push(someBells(1));
    await reserveAll(queue, 1, 1);
    const bells = someBells(5);
    await world.queue.push(bells);
    world.hang();
    await assert.rejects(queue.reserve(5, 0));
    world.mend();
    assert.deepEqual(namesOf(await reserveAll(queue, 5, 100)), namesOf(bells));
  });
}

interface Context {
  readonly traits: QueueTraits;
  readonly openWorld: () => Promise<QueueWorld>;
}

interface Opened extends QueueWorld {
  readonly queue: Queue;
  another(limits?: Partial<QueueLimits>): Promise<Queue>;
}

function check(context: Context, sentence: string, work: (world: Opened) => Promise<void>): void {
  Deno.test(`${context.traits.name}: ${sentence}`, async () => {
    await using stack = new AsyncDisposableStack();
    const world = stack.use(await context.openWorld());
    async function another(limits: Partial<QueueLimits> = {}): Promise<Queue> {
      return stack.use(await world.open({ ...longLimits, ...limits }));
    }
    await work(Object.assign(world, { queue: await another(), another }));
  });
}
