import assert from "node:assert/strict";
import { type CallId, type MessageId, newId, type RecipientId } from "../../lib/ids.ts";
import { type Claim, claimMessages, renewClaims } from "../../lib/messages/claims_table.ts";
import { startCalls } from "../../lib/messages/delivery_logs_table.ts";
import { takeLostDoorbells } from "../../lib/messages/orphans_table.ts";
import { findSettled, settleAll, type Settlement } from "../../lib/messages/outcomes_table.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";

const claimant = { holder: "host:0/1", leaseMs: 3_600_000, held: [] };

async function claimed(room: DeliveryRoom, recipients?: readonly string[]): Promise<Claim> {
  const id = await room.submit(recipients);
  const answer = (await claimMessages(room.database.system, [id], claimant)).get(id);
  assert.ok(answer?.kind === "claimed");
  return answer.claim;
}

async function started(room: DeliveryRoom, claim: Claim, limitMs = 1000): Promise<CallId | undefined> {
  const { id: message, group, user, recipients } = claim.message;
  const call = newId<CallId>();
  const begun = await startCalls(room.database.system, [{
    call,
    message,
    group,
    user,
    claim: claim.number,
    providerType: "smtp",
    recipients: recipients.map(({ id }) => id),
    attempt: 1,
    limitMs,
  }]);
  return begun.has(call) ? call : undefined;
}

function retryOf(claim: Claim, call: CallId, then: Settlement["then"]): Settlement {
  return {
    message: claim.message.id,
    claim: claim.number,
    calls: [{ call, status: "failed" }],
    changes: [{ recipient: 1 as RecipientId, status: "pending", delayMs: 3_600_000, attemptSpent: true }],
    then,
  };
}

Deno.test("claimMessages() answers for each id, and claims what is due once", async () => {
  await using room = await DeliveryRoom.open();
  const sql = room.database.system;
  const [due, later, gone] = [await room.submit(), await room.submit(), newId<MessageId>()];
  await room.owner.query("update messages set next_attempt_at = now() + interval '1 h' where id = $1", [
    later,
  ]);
  const answers = await claimMessages(sql, [due, later, gone], claimant);
  assert.equal(answers.get(due)?.kind, "claimed");
  const wait = answers.get(later);
  assert.ok(wait?.kind === "busy" && wait.forMs > 3_500_000);
  assert.equal(answers.get(gone)?.kind, "finished");
  const again = (await claimMessages(sql, [due], { ...claimant, holder: "host:1/1" })).get(due);
  assert.ok(again?.kind === "busy" && again.forMs > 3_000_000);
});

Deno.test("claimMessages() names the recipients that are due and says that others will be", async () => {
  await using room = await DeliveryRoom.open();
  const id = await room.submit(["now@example.net", "later@example.net", "done@example.net"]);
  await room.owner.run(`update recipients set next_attempt_at = now() + interval '1 h'
    where message_id = '${id}' and position = 2;
    update recipients set status = 'accepted' where message_id = '${id}' and position = 3`);
  const answer = (await claimMessages(room.database.system, [id], claimant)).get(id);
  assert.ok(answer?.kind === "claimed");
  assert.deepEqual(answer.claim.message.recipients.map(({ address }) => address), ["now@example.net"]);
  assert.equal(answer.claim.laterRecipients, true);
  assert.ok(answer.claim.ageMs >= 0 && answer.claim.ageMs < 60_000);
});

Deno.test("startCalls() begins no call whose claim is lost or too short, and takes a call twice as one", async () => {
  await using room = await DeliveryRoom.open();
  const claim = await claimed(room);
  assert.equal(await started(room, claim, 3_601_000), undefined);
  assert.equal(await started(room, { ...claim, number: claim.number + 1 }), undefined);
  const call = await started(room, claim);
  assert.ok(call);
  const { id: message, group, user } = claim.message;
  const start = {
    call,
    message,
    group,
    user,
    claim: claim.number,
    providerType: "smtp",
    recipients: [],
    attempt: 1,
  };
  assert.deepEqual(
    await startCalls(room.database.system, [{ ...start, limitMs: 1000 }]),
    new Set([call]),
  );
  assert.equal((await room.logsOf(message)).length, 1);
});

Deno.test("settleAll() spends an attempt once, though a settlement is written twice", async () => {
  await using room = await DeliveryRoom.open();
  const claim = await claimed(room);
  const call = await started(room, claim);
  assert.ok(call);
  const step = retryOf(claim, call, "go on");
  for (let time = 0; time < 2; time++) {
    const [settled] = await settleAll(room.database.system, [step]);
    assert.equal(settled?.status, "processing");
  }
  assert.equal((await room.recipientsOf(claim.message.id))[0]?.attempts, 1);
});

Deno.test("findSettled() knows a conclusion whose answer was lost from one that was never written", async () => {
  await using room = await DeliveryRoom.open();
  const claim = await claimed(room);
  const call = await started(room, claim);
  assert.ok(call);
  const step = retryOf(claim, call, "conclude");
  assert.equal(await findSettled(room.database.system, step), undefined);
  const [settled] = await settleAll(room.database.system, [step]);
  assert.equal(settled?.status, "queued");
  assert.deepEqual(await settleAll(room.database.system, [step]), [undefined]);
  const found = await findSettled(room.database.system, step);
  assert.equal(found?.status, "queued");
  assert.ok((found?.delayMs ?? 0) > 3_000_000);
});

Deno.test("settleAll() writes nothing about a claim that is lost, and the rest of the batch", async () => {
  await using room = await DeliveryRoom.open();
  const [lost, kept] = [await claimed(room), await claimed(room)];
  const calls = [await started(room, lost), await started(room, kept)];
  await room.owner.query("update messages set claim = claim + 1000 where id = $1", [lost.message.id]);
  const steps = [lost, kept].map((claim, index) =>
    retryOf(claim, calls[index] ?? newId<CallId>(), "conclude")
  );
  const settled = await settleAll(room.database.system, steps);
  assert.deepEqual(settled.map((one) => one?.status), [undefined, "queued"]);
  assert.equal((await room.recipientsOf(lost.message.id))[0]?.attempts, 0);
  assert.equal((await room.logsOf(lost.message.id))[0]?.["status"], "started");
});

Deno.test("renewClaims() answers the numbers in force, also of claims whose lease has run out", async () => {
  await using room = await DeliveryRoom.open();
  const [kept, lost] = [await claimed(room), await claimed(room)];
  await room.owner.run("update messages set claimed_until = now() - interval '1 min'");
  await room.owner.query("update messages set claim = claim + 1000 where id = $1", [lost.message.id]);
  const claims = [kept, lost].map(({ number, message }) => ({ number, message: message.id }));
  assert.deepEqual(await renewClaims(room.database.system, claims, 60_000), new Set([kept.number]));
  const [row] = await room.owner.query(
    "select claimed_until > now() as renewed from messages where id = $1",
    [
      kept.message.id,
    ],
  );
  assert.deepEqual(row, { renewed: true });
});

/** Rows that the steps of a plan gave or threw away, all of them together. */
function rowsOf(plan: unknown): number {
  if (Array.isArray(plan)) return plan.reduce((sum: number, part) => sum + rowsOf(part), 0);
  if (typeof plan !== "object" || plan === null) return 0;
  const step = new Map<string, unknown>(Object.entries(plan));
  const each = ["Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter"]
    .reduce((sum, name) => sum + Number(step.get(name) ?? 0), 0);
  return each * Number(step.get("Actual Loops") ?? 0) + rowsOf([...step.values()].filter(isPart));
}

function isPart(value: unknown): boolean {
  return typeof value === "object";
}

Deno.test("takeLostDoorbells() goes through no backlog whose doorbells are in the queue", async () => {
  await using room = await DeliveryRoom.open();
  const id = await room.submit();
  const { owner, account: { group, user } } = room;
  await owner.run(`
    insert into groups (id, name) select gen_random_uuid(), 'lane ' || n from generate_series(1, 30) n;
    insert into messages (id, group_id, user_id, sender, recipient_count, size, content_hash, storage_ref,
        next_attempt_at, correlation_id, enqueued_at)
      select (substr('${id}', 1, 24) || lpad(to_hex(n), 12, '0'))::uuid, g.id, '${user}', '', 1, 1,
        sha256(''), 'local:x', now() - interval '1 min', '', now()
      from (select id, row_number() over () as lane from groups) g, lateral generate_series(lane * 50, lane * 50 + 49) n;
    analyze messages`);
  const lanes = await owner.query("select id from groups", []);
  let rows = Infinity;
  async function explain(text: TemplateStringsArray, ...values: readonly unknown[]) {
    const numbered = text.reduce((before, part, index) => `${before}$${index}${part}`);
    await owner.run("set enable_hashjoin = off; set enable_mergejoin = off");
    rows = rowsOf(
      (await owner.query(`explain (analyze, format json) ${numbered}`, [...values]))[0]?.["QUERY PLAN"],
    );
    return [];
  }
  const heads = lanes.map((row) => ({
    group: row["id"] as typeof group,
    rungAt: new Date(Date.now() - 60_000),
  }));
  await takeLostDoorbells(explain as unknown as SystemSql, heads, 20_000, 300_000, 100);
  assert.ok(rows < 500, `${rows} rows were looked at`);
  const found = await takeLostDoorbells(room.database.system, heads.slice(1), 20_000, 300_000, 100);
  assert.deepEqual(new Set(found.map((orphan) => orphan.group)), new Set([heads[0]?.group]));
});
