import assert from "node:assert/strict";
import fc from "fast-check";
import { openDatabase } from "../../lib/postgres/database.ts";
import { ops, type Step } from "../support/claims_steps.ts";
import { ClaimsWorld } from "../support/claims_world.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";

interface Row {
  readonly id: string;
  readonly status: string;
  readonly claim: number | null;
  readonly claims: number;
  readonly isClaimed: boolean;
  readonly isBodyGone: boolean;
  readonly started: number;
  readonly stale: number;
  readonly recipients: readonly { readonly p: number; readonly s: string; readonly t: number }[];
}

/** Everything that is known of every message. */
async function rowsOf(room: DeliveryRoom): Promise<readonly Row[]> {
  return await room.owner.query(
    `select m.id, m.status, m.claim::float8 as claim, m.claims, m.body_removed_at is not null as "isBodyGone",
      num_nonnulls(m.claim, m.claimed_by, m.claimed_until) = 3 as "isClaimed",
      (select count(*)::int from delivery_logs l where l.message_id = m.id and l.status = 'started') as started,
      (select count(*)::int from delivery_logs l where l.message_id = m.id and l.status = 'started'
        and l.claim < m.claim) as stale,
      (select jsonb_agg(jsonb_build_object('p', r.position, 's', r.status, 't', r.attempts) order by r.position)
        from recipients r where r.message_id = m.id) as recipients
    from messages m order by m.id`,
    [],
  ) as unknown as readonly Row[];
}

/** What must hold of one message whatever has happened. */
function checkMessage(world: ClaimsWorld, row: Row): void {
  const { id, status } = row;
  const about = `${id} ${JSON.stringify(row)}`;
  const has = (...some: readonly string[]) => row.recipients.some(({ s }) => some.includes(s));
  assert.equal(row.isClaimed, status === "processing", about);
  if (status !== "processing") assert.equal(row.claim, null, about);
  if (status === "delivered") assert.ok(row.recipients.every(({ s }) => s === "accepted"), about);
  if (status === "failed") assert.ok(!has("pending") && has("refused", "failed", "unknown"), about);
  if (status === "queued") assert.ok(has("pending"), about);
  if (status === "cancelled") assert.ok(!has("pending"), about);
  if (status === "enqueue_failed") {
    assert.ok(row.recipients.every(({ s, t }) => s === "pending" && t === 0), about);
  }
  if (row.isBodyGone) assert.ok(status !== "queued" && status !== "processing", about);
  if (world.ledger.told.get(id as never)?.isAccepted) assert.notEqual(status, "enqueue_failed", about);
  // A call whose end nobody knows is known to the next claim, which looks for it when there was one before.
  const open = world.ledger.calls.filter(({ message, end }) => message === id && end === undefined).length;
  assert.equal(row.started, open, about);
  assert.equal(row.stale, 0, about);
  if (open > 0) assert.ok(row.claims > 0, about);
  for (const { p, s, t } of row.recipients) {
    const key = `${id} ${p}`;
    assert.equal(s === "accepted", world.ledger.isServed(key), `${key} ${about}`);
    assert.equal(t, world.ledger.spent.get(key) ?? 0, `attempts of ${key} ${about}`);
  }
}

/** What is over stays over; what has no body stays where it is. */
function checkMove(before: Row, after: Row | undefined): void {
  const isOver = before.status === "delivered" || before.status === "cancelled" || before.isBodyGone;
  if (isOver) assert.equal(after?.status, before.status);
}

/** Nobody who was accepted is asked for again, and twice is accepted only what was not heard of. */
function checkCalls(world: ClaimsWorld): void {
  const heard = new Map<string, number>();
  const accepted = new Map<string, { times: number; unheard: number }>();
  for (const { message, claim, outcomes, end } of world.ledger.calls.toSorted((a, b) => a.claim - b.claim)) {
    for (const [recipient, outcome] of outcomes) {
      const key = `${message} ${recipient}`;
      const by = heard.get(key);
      assert.ok(by === undefined, `${key} was accepted under claim ${by} and asked for under ${claim}`);
      if (outcome !== "accepted") continue;
      if (end === "settled") heard.set(key, claim);
      const { times, unheard } = accepted.get(key) ?? { times: 0, unheard: 0 };
      accepted.set(key, { times: times + 1, unheard: unheard + (end === "settled" ? 0 : 1) });
    }
  }
  for (const [key, { times, unheard }] of accepted) assert.ok(times <= unheard + 1, key);
}

async function checkCharge(room: DeliveryRoom): Promise<void> {
  const [row] = await room.owner.query(
    `select coalesce((select sum(messages) from usage), 0)::int as charged,
      (select count(*)::int from messages where status <> 'enqueue_failed') as kept`,
    [],
  );
  assert.equal(row?.["charged"], row?.["kept"]);
}

const step = fc.record<Step>({
  op: fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom(...ops) },
    { weight: 3, arbitrary: fc.constantFrom("accept", "claim", "begin", "settle", "make due") },
    { weight: 1, arbitrary: fc.constantFrom("drop", "retain", "requeue", "requeue") },
    {
      weight: 2,
      arbitrary: fc.constantFrom("kill", "expire", "expire", "come back", "come back", "come back"),
    },
  ),
  a: fc.nat({ max: 30 }),
  b: fc.nat({ max: 30 }),
});
const plan = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), {
  minLength: 5,
  maxLength: 60,
  size: "max",
});

Deno.test("messages keep their promises whatever clients, workers, operators and the clock do at once", async () => {
  await using room = await DeliveryRoom.open();
  await using api = openDatabase({
    url: room.databaseOf.urlFor("smtp_proxy_group"),
    role: "smtp_proxy_group",
  });
  await fc.assert(
    fc.asyncProperty(plan, async (batches) => {
      await room.owner.run(
        "truncate messages, recipients, delivery_logs, delivery_events, workers; update usage set messages = 0",
      );
      const world = await new ClaimsWorld(room, api).open();
      let before: readonly Row[] = [];
      async function check(): Promise<void> {
        const rows = await rowsOf(room);
        for (const row of rows) checkMessage(world, row);
        const byId = new Map(rows.map((row) => [row.id, row]));
        for (const row of before) checkMove(row, byId.get(row.id));
        before = rows;
        checkCalls(world);
        await checkCharge(room);
      }
      for (const batch of batches) {
        await world.doAtOnce(batch);
        await check();
      }
      await world.finish();
      await check();
    }),
    { numRuns: 25, seed: 20_261_123 },
  );
});
