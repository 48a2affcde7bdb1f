import assert from "node:assert/strict";
import { type CallId, type MessageId, newId } from "../../lib/ids.ts";
import { claimMessages } from "../../lib/messages/claims_table.ts";
import { plainOf, settleAll, type Settlement } from "../../lib/messages/outcomes_table.ts";
import { requeueMessages } from "../../lib/messages/requeue_table.ts";
import { settlePlain } from "../../lib/messages/plain_outcomes_table.ts";
import { openSession } from "../../lib/postgres/database.ts";
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
      const settlements = await begin(room, ids, isPlain);
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

Deno.test("messages are settled and put back without a look at the others between them", async () => {
  await using room = await DeliveryRoom.open();
  const { group } = room.account;
  const ids = [await room.submit(["a@example.net"])];
  await fill(room, 5_000);
  while (ids.length < 10) ids.push(await room.submit(["a@example.net"]));
  await room.owner.run("analyze");
  const looks: Look[] = [];
  await using ofWorker = await openSession({ url: room.databaseOf.urlFor(worker), role: worker });
  const { system } = explainingDatabase(ofWorker, (look) => looks.push(look));
  const settled = await settleAll(system, await begin(room, ids, false));
  assert.ok(settled.every((one) => one?.status === "failed"));
  await using ofGroup = await openSession({ url: room.databaseOf.urlFor(api), role: api });
  await ofGroup.query("select set_config('app.current_group_id', $1, false)", [group]);
  const reading = explainingDatabase(ofGroup, (look) => looks.push(look)).reading(group);
  assert.equal((await requeueMessages(reading, group, ids)).length, ids.length);
  assert.equal(looks.length, 2);
  for (const { statement, handled } of looks) {
    assert.ok(handled <= 300 * ids.length, `${handled} rows: ${statement}`);
  }
});

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

/** Claims the messages and begins a call for each, which fails for good for all or is taken for all. */
async function begin(room: DeliveryRoom, ids: readonly MessageId[], isTaken: boolean): Promise<Settlement[]> {
  const claimed = await claimMessages(room.database.system, ids, {
    holder: "test/1",
    leaseMs: 60_000,
    held: [],
  });
  return await Promise.all(ids.map(async (message) => {
    const answer = claimed.get(message);
    assert.ok(answer?.kind === "claimed");
    const call = newId<CallId>();
    await room.owner.query(
      `insert into delivery_logs (id, message_id, group_id, user_id, claim, provider, recipients, status)
       select $2, id, group_id, user_id, claim, 'smtp', array(select generate_series(1, recipient_count)), 'started'
       from messages where id = $1`,
      [message, call],
    );
    const fate = isTaken
      ? { status: "accepted", attemptSpent: true } as const
      : { status: "failed", failure: "exhausted", attemptSpent: true } as const;
    return {
      message,
      claim: answer.claim.number,
      then: "conclude",
      calls: [{ call, status: isTaken ? "delivered" : "failed" }],
      changes: answer.claim.message.recipients.map(({ id }) => ({ recipient: id, ...fate })),
    };
  }));
}
