import assert from "node:assert/strict";
import { newId } from "../../lib/ids.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { addGroup, addPerson, testApi } from "../support/api.ts";
import { addMail } from "../support/mail_rows.ts";
import { idOf } from "../support/old_weeks.ts";
import { until } from "../support/until.ts";

const dayMs = 86_400_000;

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

interface DayItem {
  readonly "recipient_statuses": { readonly bounced: number };
}

Deno.test("GET /stats counts the group's messages by day and provider", async () => {
  await using api = await testApi();
  const [alpha, beta] = [await addGroup(api, "alpha"), await addGroup(api, "beta")];
  const user = await addPerson(api, "owner@alpha.example", [[alpha, "owner"]]);
  const stranger = await addPerson(api, "owner@beta.example", [[beta, "owner"]]);
  const token = await api.login("owner@alpha.example");
  await using owner = await openSession({ url: api.database.ownerUrl });
  const provider = newId<never>() as string;
  // All of one day, which is today unless it ends meanwhile.
  const began = Date.now();
  const day = dayOf(began);
  const idOfDay = () => idOf((Date.now() - began + began % dayMs - 1000) / dayMs);
  const add = (status: string, by?: string) =>
    addMail(owner, { id: idOfDay(), group: alpha, user, status, ...(by !== undefined && { provider: by }) });
  for (const status of ["delivered", "delivered", "failed", "storage_error"]) await add(status, provider);
  for (const status of ["queued", "processing", "cancelled", "enqueue_failed"]) await add(status);
  await addMail(owner, { group: beta, user: stranger });
  const { status, body } = await api.ask("GET", "/api/v1/stats", { token });
  assert.equal(status, 200, JSON.stringify(body));
  const none = { failed: 0, delivered: 0, cancelled: 0, unfinished: 0, "enqueue_failed": 0 };
  const four = { day, messages: 4, recipients: 4, bytes: 16 };
  assert.deepEqual(body.items, [
    { ...none, ...four, "provider_id": provider, delivered: 2, failed: 2 },
    { ...none, ...four, "provider_id": null, cancelled: 1, unfinished: 2, "enqueue_failed": 1 },
  ]);
  assert.ok([day, dayOf(Date.now())].includes(body.until), body.until);
  assert.equal(body.truncated, false);
  await owner.run("update recipients set status = 'bounced' where group_id = '" + alpha + "'");
  const detailed = await api.ask("GET", "/api/v1/stats?detail=recipients", { token });
  assert.deepEqual(detailed.body.items.map((item: DayItem) => item.recipient_statuses.bounced), [4, 4]);
  const before = await api.ask("GET", "/api/v1/stats?since=2026-01-01&until=2026-01-31", { token });
  assert.deepEqual(before.body.items, []);
  for (const query of ["since=2026-01-01&until=2026-02-01", "since=2026-02-02&until=2026-02-01", "since=x"]) {
    assert.equal((await api.ask("GET", `/api/v1/stats?${query}`, { token })).status, 400, query);
  }
});

Deno.test("GET /usage tells the month's limit, what is used of it and when it begins anew", async () => {
  await using api = await testApi();
  const alpha = await addGroup(api, "alpha");
  await addPerson(api, "owner@alpha.example", [[alpha, "owner"]]);
  const token = await api.login("owner@alpha.example");
  await using owner = await openSession({ url: api.database.ownerUrl });
  const { body: unlimited } = await api.ask("GET", "/api/v1/usage", { token });
  assert.deepEqual([unlimited.messages, unlimited.monthly_limit, unlimited.remaining, unlimited.months], [
    0,
    0,
    null,
    [],
  ]);
  await until("the month does not end at once", async () => {
    const [row] = await owner.run(
      `select date_trunc('month', now(), 'UTC') = date_trunc('month', now() + interval '1 minute', 'UTC') as is_same`,
    );
    return row?.["is_same"] === true;
  });
  await owner.run(`update groups set monthly_limit = 10 where id = '${alpha}';
    insert into usage (group_id, month, messages) values
      ('${alpha}', date_trunc('month', now() at time zone 'UTC'), 7), ('${alpha}', '2020-02-01', 3)`);
  const { status, body } = await api.ask("GET", "/api/v1/usage", { token });
  assert.equal(status, 200);
  assert.deepEqual([body.messages, body.monthly_limit, body.remaining], [7, 10, 3]);
  assert.deepEqual(body.months, [{ month: body.month, messages: 7 }, { month: "2020-02-01", messages: 3 }]);
  assert.match(body.resets_at, /^\d{4}-\d\d-01T00:00:00\.000Z$/);
  assert.ok(new Date(body.resets_at) > new Date(body.month));
});
