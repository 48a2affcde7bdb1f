import assert from "node:assert/strict";
import { type CallId, type GroupId, type MessageId, newId } from "../../lib/ids.ts";
import { type Claim, claimMessages, renewClaims } from "../../lib/messages/claims_table.ts";
import { startCalls } from "../../lib/messages/delivery_logs_table.ts";
import { takeBackRings } from "../../lib/messages/orphans_table.ts";
import { plainOf, settleAll, type Settlement } from "../../lib/messages/outcomes_table.ts";
import { countRequeueable, lockMessages, requeueMessages } from "../../lib/messages/requeue_table.ts";
import { giveUpBodies } from "../../lib/messages/retention_table.ts";
import { settlePlain } from "../../lib/messages/plain_outcomes_table.ts";
import { openSession } from "../../lib/postgres/database.ts";
import type { GroupSql, SystemSql } from "../../lib/postgres/sql.ts";
import { explainingDatabase, type Look } from "../bench/explaining_database.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";

/** Messages of one batch and the recipients of each: so many that the square of all of them shows. */
const shapes = [[1, 600], [4, 150], [10, 60]] as const;
const worker = "smtp_proxy_worker";
const api = "smtp_proxy_group";

for (const isPlain of [false, true]) {
  const name = isPlain ? "settlePlain" : "settleAll";
  Deno.test(`${name}() takes no more for each recipient where there are many`, async () => {
    await using room = await DeliveryRoom.open();
    for (const [messages, recipients] of shapes) {
      const addresses = Array.from({ length: recipients }, (_, n) => `r${n}@example.net`);
      const ids = await Promise.all(Array.from({ length: messages }, () => room.submit(addresses)));
      await using session = await openSession({ url: room.databaseOf.urlFor(worker), role: worker });
      const looks: Look[] = [];
      const { system } = explainingDatabase(session, (look) => looks.push(look));
      const settlements = await beginCalls(
        room.database.system,
        await claimAll(room.database.system, ids),
        isPlain,
      );
      const written = isPlain
        ? [...await settlePlain(system, settlements.flatMap((one) => plainOf(one) ?? []))]
        : (await settleAll(system, settlements)).filter((one) => one?.status === "failed");
      assert.equal(written.length, messages);
      const [look, more] = looks;
      assert.ok(look !== undefined && more === undefined);
      assert.ok(
        look.handled <= 100 * messages * recipients,
        `${look.handled} rows for ${messages} x ${recipients}`,
      );
    }
  });
}

Deno.test("no step of a delivery looks at the messages between its own, however many there were when its plan was made", async () => {
  await using room = await DeliveryRoom.open();
  await using stack = new AsyncDisposableStack();
  const services: Services[] = [];
  // An index that grows a level later than another seems cheaper until then.
  while (services.length < 16) {
    const opened = stack.use(await openServices(room));
    await takeSteps(opened, await submitAround(room, 0));
    services.push(opened);
  }
  for (const opened of services) assertSmall(await takeSteps(opened, await submitAround(room, 1_000)));
});

Deno.test("no step of a delivery looks at the messages between its own, whatever is known of them", async () => {
  await using room = await DeliveryRoom.open();
  await submitAround(room, 0);
  for (const isAnalyzed of [false, true, false, true]) {
    if (isAnalyzed) await room.owner.run("analyze");
    await using opened = await openServices(room);
    assertSmall(await takeSteps(opened, await submitAround(room, 5_000)));
  }
});

function assertSmall(looks: readonly Look[]): void {
  assert.ok(looks.length >= 11);
  for (const { statement, handled, entries } of looks) {
    const most = Math.max(handled, entries);
    assert.ok(most <= 300 * each, `${handled} rows, ${entries} entries: ${statement}`);
  }
}

/** Messages that a step takes together. */
const each = 10;

/** What speaks to the database in a worker and in the API. */
interface Services extends AsyncDisposable {
  readonly group: GroupId;
  readonly worker: SystemSql;
  readonly api: GroupSql;
  /** What they said since it was asked for last. */
  looks(): readonly Look[];
}

async function openServices(room: DeliveryRoom): Promise<Services> {
  await using stack = new AsyncDisposableStack();
  const { group } = room.account;
  const ofWorker = stack.use(await openSession({ url: room.databaseOf.urlFor(worker), role: worker }));
  const ofGroup = stack.use(await openSession({ url: room.databaseOf.urlFor(api), role: api }));
  await ofGroup.query("select set_config('app.current_group_id', $1, false)", [group]);
  const all = stack.move();
  const looks: Look[] = [];
  const tell = (look: Look) => looks.push(look);
  return {
    group,
    worker: explainingDatabase(ofWorker, tell).system,
    api: explainingDatabase(ofGroup, tell).reading(group),
    looks: () => looks.splice(0),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

interface Own {
  readonly taken: readonly MessageId[];
  readonly failing: readonly MessageId[];
}

/** Submits messages, two of them before so many others and the rest behind. */
async function submitAround(room: DeliveryRoom, others: number): Promise<Own> {
  const [taken, failing] = [[await room.submit()], [await room.submit()]];
  if (others > 0) await fill(room, others);
  while (taken.length < each) taken.push(await room.submit());
  while (failing.length < each) failing.push(await room.submit());
  return { taken, failing };
}

/** Delivers some, lets others fail and puts them back; answers what that read. */
async function takeSteps(services: Services, { taken, failing }: Own): Promise<readonly Look[]> {
  const { worker, api, group } = services;
  await takeBackRings(worker, taken);
  const claims = await claimAll(worker, taken);
  const held = claims.map(({ number, message }) => ({ message: message.id, number }));
  assert.equal((await renewClaims(worker, held, 60_000)).size, each);
  const settlements = await beginCalls(worker, claims, true);
  const plain = settlements.flatMap((one) => plainOf(one) ?? []);
  assert.equal((await settlePlain(worker, plain)).size, each);
  assert.equal((await giveUpBodies(worker, taken, { deliveredMs: 0, unansweredMs: 0 })).length, each);

  const failed = await settleAll(worker, await beginCalls(worker, await claimAll(worker, failing), false));
  assert.ok(failed.every((one) => one?.status === "failed"));
  assert.equal((await lockMessages(api, group, failing)).length, each);
  assert.equal(await countRequeueable(api, group, failing), each);
  assert.equal((await requeueMessages(api, group, failing)).length, each);
  return services.looks();
}

/** Finished messages, which lie between the ids of those that are submitted before and after. */
async function fill({ owner, account: { group, user } }: DeliveryRoom, count: number): Promise<void> {
  await owner.run(`
    with m as (
      insert into messages (id, group_id, user_id, sender, recipient_count, size, content_hash, storage_ref, status,
        next_attempt_at, correlation_id, enqueued_at)
      select uuidv7(), '${group}', '${user}', 'a@example.com', 1, 1, sha256('x'), 'local:x#0+1', 'delivered', now(),
        'test', now() from generate_series(1, ${count}) returning id
    ), r as (
      insert into recipients (message_id, position, group_id, address, status)
      select id, 1, '${group}', 'b@example.net', 'accepted' from m
    )
    insert into delivery_logs (id, message_id, group_id, user_id, claim, recipients, status)
    select uuidv7(), id, '${group}', '${user}', 1, '{1}', 'delivered' from m`);
}

async function claimAll(sql: SystemSql, ids: readonly MessageId[]): Promise<readonly Claim[]> {
  const answers = await claimMessages(sql, ids, { holder: "test/1", leaseMs: 60_000, held: [] });
  return ids.map((id) => {
    const answer = answers.get(id);
    assert.ok(answer?.kind === "claimed");
    return answer.claim;
  });
}

/** Begins a call for each; the settlements say that it was taken for all recipients, or fails for good for all. */
async function beginCalls(
  sql: SystemSql,
  claims: readonly Claim[],
  isTaken: boolean,
): Promise<readonly Settlement[]> {
  const starts = claims.map(({ number, message }) => ({
    call: newId<CallId>(),
    message: message.id,
    group: message.group,
    user: message.user,
    claim: number,
    providerType: "smtp",
    recipients: message.recipients.map(({ id }) => id),
    attempt: 1,
    limitMs: 1_000,
  }));
  assert.equal((await startCalls(sql, starts)).size, starts.length);
  const fate = isTaken
    ? { status: "accepted", attemptSpent: true } as const
    : { status: "failed", failure: "exhausted", attemptSpent: true } as const;
  return starts.map(({ call, message, claim, recipients }) => ({
    message,
    claim,
    then: "conclude",
    calls: [{ call, status: isTaken ? "delivered" : "failed" }],
    changes: recipients.map((recipient) => ({ recipient, ...fate })),
  }));
}
