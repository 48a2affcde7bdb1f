import assert from "node:assert/strict";
import { type CallId, type MessageId, newId } from "../../lib/ids.ts";
import { claimMessages, renewClaims } from "../../lib/messages/claims_table.ts";
import { settleAll, type Settlement } from "../../lib/messages/outcomes_table.ts";
import { plainOf } from "../../lib/messages/outcomes_table.ts";
import { settlePlain } from "../../lib/messages/plain_outcomes_table.ts";
import { openSession } from "../../lib/postgres/database.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { untilLockIsAwaited } from "../support/until.ts";

/** What is done to a batch of claimed messages, by the settlement of each; answers for how many it was done. */
type Work = (sql: SystemSql, taken: readonly Settlement[]) => Promise<number>;

const works: Readonly<Record<string, Work>> = {
  async "settlements of any kind"(sql, taken) {
    const failed = { status: "failed", failure: "exhausted", attemptSpent: true } as const;
    const settlements = taken.map((one): Settlement => ({
      ...one,
      calls: one.calls.map((call) => ({ ...call, status: "failed" })),
      changes: one.changes.map(({ recipient }) => ({ recipient, ...failed })),
    }));
    return (await settleAll(sql, settlements)).filter((one) => one?.status === "failed").length;
  },
  async "plain settlements"(sql, taken) {
    return (await settlePlain(sql, taken.map(plainOf).filter((one) => one !== undefined))).size;
  },
  async "renewals of claims"(sql, taken) {
    return (await renewClaims(sql, taken.map(({ message, claim }) => ({ message, number: claim })), 60_000))
      .size;
  },
};

for (const [name, work] of Object.entries(works)) {
  Deno.test(`${name} are written whole although their rows are changed meanwhile`, async () => {
    await using room = await DeliveryRoom.open();
    await room.owner.run("select ensure_partitions(8)");
    const ids: MessageId[] = [];
    for (let n = 0; n < 8; n++) {
      ids.push(await room.submit(["a@example.net", "b@example.net", "c@example.net"]));
    }
    const taken = await begin(room, ids);
    await using other = await openSession({ url: room.databaseOf.ownerUrl });
    await other.run("begin");
    for (const id of ids.filter((_, n) => n % 2 === 1)) {
      await other.query("update messages set subject = 'changed' where id = $1", [id]);
      await other.query(
        "update recipients set fault_detail = 'changed' where message_id = $1 and position > 1",
        [id],
      );
      await other.query("update delivery_logs set last_error = 'changed' where message_id = $1", [id]);
    }
    const done = work(room.database.system, taken);
    await untilLockIsAwaited(room.owner, "messages m");
    await other.run("commit");
    assert.equal(await done, ids.length);
  });
}

/** Claims the messages and begins a call for each; answers how they are settled when all went well. */
async function begin(room: DeliveryRoom, ids: readonly MessageId[]): Promise<readonly Settlement[]> {
  const claimant = { holder: "test/1", leaseMs: 60_000, held: [] };
  const claimed = await claimMessages(room.database.system, ids, claimant);
  return await Promise.all(ids.map(async (message): Promise<Settlement> => {
    const answer = claimed.get(message);
    assert.ok(answer?.kind === "claimed");
    const call = newId<CallId>();
    await room.owner.query(
      `insert into delivery_logs (id, message_id, group_id, user_id, claim, provider, recipients, status)
       select $2, id, group_id, user_id, claim, 'smtp', '{1,2,3}', 'started' from messages where id = $1`,
      [message, call],
    );
    const changes = answer.claim.message.recipients.map(({ id }) => (
      { recipient: id, status: "accepted", attemptSpent: true } as const
    ));
    return {
      message,
      claim: answer.claim.number,
      then: "conclude",
      calls: [{ call, status: "delivered" }],
      changes,
    };
  }));
}
