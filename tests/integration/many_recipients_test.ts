import assert from "node:assert/strict";
import { type CallId, type MessageId, newId } from "../../lib/ids.ts";
import { type Claim, claimMessages, renewClaims } from "../../lib/messages/claims_table.ts";
import { startCalls } from "../../lib/messages/delivery_logs_table.ts";
import { takeBackRings } from "../../lib/messages/orphans_table.ts";
import { plainOf, settleAll, type Settlement } from "../../lib/messages/outcomes_table.ts";
import { countRequeueable, lockMessages, requeueMessages } from "../../lib/messages/requeue_table.ts";
import { giveUpBodies } from "../../lib/messages/retention_table.ts";
import { settlePlain } from "../../lib/messages/plain_outcomes_table.ts";
import { openSession } from "../../lib/postgres/database.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
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

for (const isKnown of [false, true]) {
  const when = isKnown ? "once they are analyzed" : "before they are analyzed";
  Deno.test(`no step of a delivery looks at the messages between its own, ${when}`, async () => {
    await using room = await DeliveryRoom.open();
    const { group } = room.account;
    const taken = [await room.submit(["a@example.net"])];
    const failing = [await room.submit(["a@example.net"])];
    if (!isKnown) await room.owner.run("analyze");
    await fill(room, 5_000);
    while (taken.length < 10) taken.push(await room.submit(["a@example.net"]));
    while (failing.length < 10) failing.push(await room.submit(["a@example.net"]));
    if (isKnown) await room.owner.run("analyze");
    const looks: Look[] = [];
    await using ofWorker = await openSession({ url: room.databaseOf.urlFor(worker), role: worker });
    const { system } = explainingDatabase(ofWorker, (look) => looks.push(look));
    await using ofGroup = await openSession({ url: room.databaseOf.urlFor(api), role: api });
    await ofGroup.query("select set_config('app.current_group_id', $1, false)", [group]);
    const reading = explainingDatabase(ofGroup, (look) => looks.push(look)).reading(group);

    await takeBackRings(system, taken);
    const claims = await claimAll(system, taken);
    const held = claims.map(({ number, message }) => ({ message: message.id, number }));
    assert.equal((await renewClaims(system, held, 60_000)).size, taken.length);
    const settlements = await beginCalls(system, claims, true);
    const plain = settlements.flatMap((one) => plainOf(one) ?? []);
    assert.equal((await settlePlain(system, plain)).size, taken.length);
    assert.equal(
      (await giveUpBodies(system, taken, { deliveredMs: 0, unansweredMs: 0 })).length,
      taken.length,
    );

    const failed = await settleAll(system, await beginCalls(system, await claimAll(system, failing), false));
    assert.ok(failed.every((one) => one?.status === "failed"));
    assert.equal((await lockMessages(reading, group, failing)).length, failing.length);
    assert.equal(await countRequeueable(reading, group, failing), failing.length);
    assert.equal((await requeueMessages(reading, group, failing)).length, failing.length);

    assert.ok(looks.length >= 11);
    for (const { statement, handled, entries } of looks) {
      const most = Math.max(handled, entries);
      assert.ok(most <= 300 * taken.length, `${handled} rows, ${entries} entries: ${statement}`);
    }
  });
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
