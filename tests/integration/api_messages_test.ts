import assert from "node:assert/strict";
import { newId } from "../../lib/ids.ts";
import { claimMessages } from "../../lib/messages/claims_table.ts";
import type { MessageId } from "../../lib/ids.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { addGroup, addPerson, type TestApi, testApi, type TestApiOptions } from "../support/api.ts";
import { openTestStore } from "../support/local_stores.ts";
import { addMail, type MailRow } from "../support/mail_rows.ts";
import { idOf } from "../support/old_weeks.ts";

/** Two groups with an owner each, and a hand that puts mail into the first. */
async function scene(options: TestApiOptions = {}) {
  const api = await testApi(options);
  const alpha = await addGroup(api, "alpha");
  const beta = await addGroup(api, "beta");
  const user = await addPerson(api, "owner@alpha.example", [[alpha, "owner"]]);
  const stranger = await addPerson(api, "owner@beta.example", [[beta, "owner"]]);
  const token = await api.login("owner@alpha.example");
  const owner = await openSession({ url: api.database.ownerUrl });
  return {
    api,
    alpha,
    beta,
    user,
    stranger,
    token,
    owner,
    foreign: () => api.login("owner@beta.example"),
    add: (row: Partial<MailRow> = {}) => addMail(owner, { group: alpha, user, ...row }),
    ask: (method: string, path: string, body?: unknown) => api.ask(method, `/api/v1${path}`, { token, body }),
    async [Symbol.asyncDispose]() {
      await owner[Symbol.asyncDispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}

async function idsOf(api: TestApi, token: string, query: string): Promise<readonly string[]> {
  const { status, body } = await api.ask("GET", `/api/v1/messages${query}`, { token });
  assert.equal(status, 200, `${query}: ${JSON.stringify(body)} ${api.faults.join("; ")}`);
  return body.items.map(({ id }: { id: string }) => id);
}

Deno.test("GET /messages finds by each filter what it names, newest first, and by several what all of them name", async () => {
  await using world = await scene();
  const { api, alpha, token, owner } = world;
  const provider = newId<never>() as string;
  await owner.run(`insert into esp_providers (id, group_id, name, provider_type)
    values ('${provider}', '${alpha}', 'relay', 'smtp')`);
  const first = await world.add({
    sender: "Ann@Example.com",
    subject: "Invoice 42",
    rfcMessageId: "<1@example.com>",
    recipients: [["Bob@Example.net", "accepted"], ["bob@example.net", "accepted"]],
    status: "delivered",
    provider,
  });
  const second = await world.add({ sender: "ann@example.com", subject: "invoice", status: "failed" });
  const third = await world.add({ sender: "", subject: "Ärger", status: "cancelled" });
  const fourth = await world.add({ status: "processing" });
  const fifth = await world.add({ status: "storage_error", subject: "100%_" });
  const sixth = await world.add();
  const all = [sixth, fifth, fourth, third, second, first];
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["", all],
    ["?status=delivered", [first]],
    ["?status=failed", [second]],
    ["?status=cancelled", [third]],
    ["?status=processing", [fourth]],
    ["?status=storage_error", [fifth]],
    ["?status=queued", [sixth]],
    ["?status=enqueue_failed", []],
    ["?sender=ANN%40example.com", [second, first]],
    ["?sender=%3C%3E", [third]],
    ["?recipient=BOB%40example.NET", [first]],
    ["?subject=INVOICE", [second, first]],
    ["?subject=%C3%A4rg", [third]],
    ["?subject=0%25_", [fifth]],
    ["?message_id=1%40example.com", [first]],
    ["?message_id=%3C1%40example.com%3E", [first]],
    [`?provider_id=${provider}`, [first]],
    ["?sender=ann%40example.com&status=failed", [second]],
    ["?recipient=bob%40example.net&message_id=1%40example.com&subject=voice&sender=ann%40example.com", [
      first,
    ]],
    ["?recipient=else%40example.net&message_id=1%40example.com", []],
    ["?since=2100-01-01T00:00:00Z", []],
    ["?until=2100-01-01T00:00:00Z", all],
    ["?until=2001-01-01T00:00:00Z", []],
  ];
  for (const [query, expected] of cases) assert.deepEqual(await idsOf(api, token, query), expected, query);
  const stranger = await world.foreign();
  for (const [query] of cases) assert.deepEqual(await idsOf(api, stranger, query), [], `${query} of another`);
  assert.deepEqual(api.faults, []);
});

Deno.test("GET /messages pages by cursor, without gap or repetition, with and without a filter", async () => {
  await using world = await scene();
  const ids: string[] = [];
  for (let n = 0; n < 7; n++) {
    ids.unshift(await world.add({ sender: n % 2 ? "odd@example.com" : "even@example.com" }));
  }
  for (
    const [query, expected] of [["", ids], [
      "&sender=even@example.com",
      ids.filter((_, n) => n % 2 === 0),
    ]] as const
  ) {
    const found: string[] = [];
    let cursor = "";
    for (let pages = 0; pages < 10; pages++) {
      const { body } = await world.ask("GET", `/messages?limit=2${query}${cursor}`);
      found.push(...body.items.map(({ id }: { id: string }) => id));
      if (body.next_cursor === null) break;
      cursor = `&cursor=${body.next_cursor}`;
    }
    assert.deepEqual(found, expected);
  }
  const other = await world.ask(
    "GET",
    "/dlq?cursor=" + (await world.ask("GET", "/messages?limit=2")).body.next_cursor,
  );
  assert.equal(other.status, 400);
});

Deno.test("GET /messages goes on behind a page that it looked for in vain", async () => {
  await using world = await scene();
  const { alpha, user, owner } = world;
  // PostgreSQL's ids and ours of one millisecond are in no order.
  const id = idOf(1 / 24);
  const old = await world.add({ id, status: "delivered", sender: "many@example.com", subject: "wanted" });
  await owner.run(`begin; set local session_replication_role = replica;
    create temp table made on commit drop as select uuidv7() as id from generate_series(1, 2100);
    insert into messages (id, group_id, user_id, sender, recipient_count, size, content_hash, storage_ref, status,
      next_attempt_at, correlation_id, enqueued_at)
    select id, '${alpha}', '${user}', 'many@example.com', 1, 4, sha256('x'), 'local:x.seg#0+4', 'queued', now(), 'c', now()
    from made; commit`);
  const both = "/messages?status=delivered&sender=many@example.com";
  const first = await world.ask("GET", both);
  assert.deepEqual([first.status, first.body.items.length], [200, 0]);
  const second = await world.ask("GET", `${both}&cursor=${first.body.next_cursor}`);
  assert.deepEqual(second.body.items.map(({ id }: { id: string }) => id), [old]);
  assert.equal(second.body.next_cursor, null);
  assert.equal((await world.ask("GET", "/messages?status=delivered")).body.items[0].id, old);
  assert.equal((await world.ask("GET", "/messages?subject=wanted")).body.items[0].id, old);
  assert.equal((await world.ask("GET", "/messages?subject=want")).body.items.length, 0);
});

Deno.test("GET /messages/{id} tells of recipients, attempts with their routing, and events", async () => {
  await using world = await scene();
  const { alpha, user, owner } = world;
  const id = await world.add({ recipients: [["b@example.net", "pending"], ["c@example.net", "refused"]] });
  await owner.run(`
    insert into delivery_logs (id, message_id, group_id, user_id, claim, recipients, status, response_code, metadata)
      values (uuidv7(), '${id}', '${alpha}', '${user}', 1, '{1,2}', 'partial', 250, '{"routing": {"rule_id": "${id}", "position": 2}}');
    insert into delivery_events (id, message_id, group_id, position, kind, occurred_at)
      values (uuidv7(), '${id}', '${alpha}', 1, 'deferred', now())`);
  const { status, body } = await world.ask("GET", `/messages/${id}`);
  assert.equal(status, 200);
  assert.deepEqual(
    body.recipients.map((to: { address: string; status: string }) => [to.address, to.status]),
    [
      ["b@example.net", "pending"],
      ["c@example.net", "refused"],
    ],
  );
  const [attempt] = body.attempt_log;
  assert.deepEqual([attempt.status, attempt.response_code, attempt.recipients, attempt.routing], [
    "partial",
    250,
    [1, 2],
    { "rule_id": id, position: 2 },
  ]);
  assert.deepEqual([body.events[0].kind, body.events[0].recipient], ["deferred", 1]);
  assert.notEqual(body.next_attempt_at, null);
  assert.equal(body.storage_ref, undefined);
  const foreign = await world.api.ask("GET", `/api/v1/messages/${id}`, { token: await world.foreign() });
  assert.equal(foreign.status, 404);
});

Deno.test("GET /messages/{id}/raw answers the bytes of either kind of body, and is an activity each time", async () => {
  await using bodies = await openTestStore();
  await using world = await scene({ store: bodies.store });
  const { alpha, user, owner } = world;
  const bytes = new Uint8Array(300_000).map((_, n) => 32 + n % 90);
  const label = { group: alpha, user, mailFrom: "a@example.com", recipients: ["b@example.net"] };
  const id = newId<MessageId>();
  const storageRef = await bodies.store.put({ id, ...label }, memoryBody(bytes));
  await world.add({ id, storageRef });
  const response = await world.api.app(
    new Request(`http://api.test/api/v1/messages/${id}/raw`, {
      headers: { authorization: `Bearer ${world.token}` },
    }),
    { remoteAddress: "192.0.2.10" },
  );
  assert.equal(response.headers.get("content-type"), "message/rfc822");
  assert.equal(response.headers.get("content-length"), "300000");
  assert.deepEqual(new Uint8Array(await response.arrayBuffer()), bytes);
  assert.equal((await world.ask("GET", `/messages/${await world.add()}/raw`)).body, "body");
  const gone = await world.ask(
    "GET",
    `/messages/${await world.add({ bodyRemoved: true, status: "delivered" })}/raw`,
  );
  assert.deepEqual([gone.status, gone.body.code], [409, "body_gone"]);
  const lost = await world.add({ storageRef: storageRef.replace(/#\d+/, "#999999999") });
  assert.equal((await world.ask("GET", `/messages/${lost}/raw`)).body.code, "body_gone");
  const head = await world.ask("HEAD", `/messages/${id}/raw`);
  assert.deepEqual(
    [head.status, head.headers.get("allow")],
    [405, "GET"],
    "who reads nothing is not told to have",
  );
  const told = await owner.run(`select resource_id from activity_logs where action = 'messages.read_body'
    and group_id = '${alpha}' and actor_id = '${user}'`);
  assert.equal(told.length, 3);
  assert.ok(told.some((activity) => activity["resource_id"] === id));
});

Deno.test("GET /messages/{id}/raw says when the store is down", async () => {
  await using world = await scene();
  const answer = await world.ask(
    "GET",
    `/messages/${await world.add({ storageRef: "local:x.seg#0+4" })}/raw`,
  );
  assert.deepEqual([answer.status, answer.body.code], [503, "body_store_down"]);
});

Deno.test("POST /messages/{id}/cancel cancels what is queued alone", async () => {
  await using world = await scene();
  const id = await world.add({ recipients: [["b@example.net", "accepted"], ["c@example.net", "pending"]] });
  const { status, body } = await world.ask("POST", `/messages/${id}/cancel`);
  assert.deepEqual([status, body.status, body.failure_code, body.next_attempt_at], [
    200,
    "cancelled",
    "cancelled",
    null,
  ]);
  const { body: now } = await world.ask("GET", `/messages/${id}`);
  assert.deepEqual(now.recipients.map((to: { status: string }) => to.status), ["accepted", "cancelled"]);
  for (const standing of ["processing", "delivered", "failed", "cancelled"]) {
    const other = await world.ask("POST", `/messages/${await world.add({ status: standing })}/cancel`);
    assert.deepEqual([other.status, other.body.code], [409, "message_not_queued"], standing);
  }
  assert.equal((await world.ask("POST", `/messages/${newId<never>() as string}/cancel`)).status, 404);
});

Deno.test("a claim and a cancellation at the same time exclude each other", async () => {
  await using world = await scene();
  await using worker = openDatabase({
    url: world.api.database.urlFor("smtp_proxy_worker"),
    role: "smtp_proxy_worker",
  });
  for (let round = 0; round < 8; round++) {
    const id = await world.add() as MessageId;
    const claimant = { holder: "w/1", leaseMs: 60_000, held: [] };
    const [cancelled, claimed] = await Promise.all([
      world.ask("POST", `/messages/${id}/cancel`),
      claimMessages(worker.system, [id], claimant),
    ]);
    // Whoever looks while the other writes is told to come again: neither has to win at once.
    const later = claimed.get(id)?.kind === "busy"
      ? await claimMessages(worker.system, [id], claimant)
      : claimed;
    const isCancelled = cancelled.status === 200;
    assert.equal(later.get(id)?.kind, isCancelled ? "finished" : "claimed");
  }
});
