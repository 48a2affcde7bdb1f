import assert from "node:assert/strict";
import { type CallId, type MessageId, newId } from "../../lib/ids.ts";
import { claimMessages } from "../../lib/messages/claims_table.ts";
import { plainOf, settleAll, type Settlement } from "../../lib/messages/outcomes_table.ts";
import { settlePlain } from "../../lib/messages/plain_outcomes_table.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { explainingDatabase, type Look } from "../bench/explaining_database.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";

/** Messages of one batch and the recipients of each: so many that the square of all of them shows. */
const shapes = [[1, 600], [4, 150], [10, 60]] as const;
const role = "smtp_proxy_worker";

for (const isPlain of [false, true]) {
  const name = isPlain ? "settlePlain" : "settleAll";
  Deno.test(`${name}() takes no more for each recipient where there are many`, async () => {
    await using room = await DeliveryRoom.open();
    for (const [messages, recipients] of shapes) {
      const addresses = Array.from({ length: recipients }, (_, n) => `r${n}@example.net`);
      const ids = await Promise.all(Array.from({ length: messages }, () => room.submit(addresses)));
      await using session = await openSession({ url: room.databaseOf.urlFor(role), role });
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
        look.handled <= 60 * messages * recipients,
        `${look.handled} rows for ${messages} x ${recipients}`,
      );
    }
  });
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
