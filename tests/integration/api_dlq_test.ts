import assert from "node:assert/strict";
import { type MessageId, newId } from "../../lib/ids.ts";
import { claimMessages } from "../../lib/messages/claims_table.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { openPostgresQueue } from "../../lib/queue/postgres_queue.ts";
import { addGroup, addPerson, testApi } from "../support/api.ts";
import { addMail, type MailRow } from "../support/mail_rows.ts";
import { untilLockIsAwaited } from "../support/until.ts";

/** A group with an owner, another's owner, and a hand that puts dead letters into the first. */
async function scene() {
  const api = await testApi();
  const alpha = await addGroup(api, "alpha");
  const beta = await addGroup(api, "beta");
  const user = await addPerson(api, "owner@alpha.example", [[alpha, "owner"]]);
  await addPerson(api, "owner@beta.example", [[beta, "owner"]]);
  const token = await api.login("owner@alpha.example");
  const owner = await openSession({ url: api.database.ownerUrl });
  const worker = openDatabase({ url: api.database.urlFor("smtp_proxy_worker"), role: "smtp_proxy_worker" });
  return {
    api,
    alpha,
    owner,
    worker,
    queue: openPostgresQueue({ database: worker, timeoutMs: 60_000 }),
    foreign: () => api.login("owner@beta.example"),
    dead: (row: Partial<MailRow> = {}) =>
      addMail(owner, {
        group: alpha,
        user,
        status: "failed",
        recipients: [["ok@example.net", "accepted"], ["bad@example.net", "failed"], [
          "no@example.net",
          "refused",
        ]],
        ...row,
      }),
    ask: (method: string, path: string, body?: unknown) => api.ask(method, `/api/v1${path}`, { token, body }),
    reprocess: (body: unknown) => api.ask("POST", "/api/v1/dlq/reprocess", { token, body }),
    async [Symbol.asyncDispose]() {
      await this.queue[Symbol.asyncDispose]();
      await worker[Symbol.asyncDispose]();
      await owner[Symbol.asyncDispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}

Deno.test("GET /dlq lists the group's dead letters by filter", async () => {
  await using world = await scene();
  const first = await world.dead({ sender: "a@example.com", failure: "refused" });
  const second = await world.dead({ status: "storage_error" });
  await world.dead({ status: "delivered" });
  const ids = async (query: string) => {
    const { status, body } = await world.ask("GET", `/dlq${query}`);
    assert.equal(status, 200, JSON.stringify(body));
    return body.items.map(({ id }: { id: string }) => id);
  };
  assert.deepEqual(await ids(""), [second, first]);
  assert.deepEqual(await ids("?status=storage_error"), [second]);
  assert.deepEqual(await ids("?failure_code=refused"), [first]);
  assert.deepEqual(await ids("?sender=a@example.com"), [first]);
  assert.equal((await world.ask("GET", "/dlq?status=delivered")).status, 400);
});

Deno.test("POST /dlq/reprocess puts the recipients that nobody accepted back into the queue, and rings", async () => {
  await using world = await scene();
  const id = await world.dead();
  const delivered = await world.dead({ status: "delivered" });
  const { status, body } = await world.reprocess({
    "message_ids": [id, delivered, newId<never>() as string],
    "reset_retry_count": true,
  });
  assert.equal(status, 200, JSON.stringify(body));
  assert.deepEqual([body.reprocessed, body.total], [1, 3]);
  const { body: message } = await world.ask("GET", `/messages/${id}`);
  assert.deepEqual([message.status, message.failure_code, message.processed_at], ["queued", null, null]);
  const recipients = message.recipients.map((
    to: { status: string; attempts: number },
  ) => [to.status, to.attempts]);
  assert.deepEqual(recipients, [["accepted", 6], ["pending", 0], ["pending", 0]]);
  const leases = await world.queue.reserve(10, 0);
  assert.deepEqual(leases.map(({ message, group }) => [message, group]), [[id, world.alpha]]);
  const [told] = await world.owner.run("select changes from activity_logs where action = 'dlq.reprocess'");
  assert.deepEqual(told?.["changes"], { "message_ids": [id] });
  assert.deepEqual(world.api.faults, []);
});

Deno.test("POST /dlq/reprocess counts and puts back hundreds of letters, each once however often it is named", async () => {
  await using world = await scene();
  const ids = await Promise.all(Array.from({ length: 250 }, () => world.dead()));
  const thrice = { "message_ids": [...ids, ...ids, ...ids] };
  const { body: dry } = await world.reprocess({ ...thrice, "dry_run": true });
  assert.deepEqual([dry.reprocessed, dry.dry_run], [250, true]);
  const { body: wet } = await world.reprocess(thrice);
  assert.equal(wet.reprocessed, 250);
  const leases = await world.queue.reserve(500, 0);
  assert.deepEqual(leases.map(({ message }) => message).sort(), ids.sort());
});

Deno.test("POST /dlq/reprocess by several at once rings at most twice, and one claim alone is answered", async () => {
  await using world = await scene();
  const id = await world.dead() as MessageId;
  const answers = await Promise.all([1, 2, 3].map(() => world.reprocess({ "message_ids": [id] })));
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200]);
  assert.equal(answers.reduce((sum, { body }) => sum + body.reprocessed, 0), 1);
  const claims = await Promise.all(
    [1, 2].map((n) =>
      claimMessages(world.worker.system, [id], { holder: `w/${n}`, leaseMs: 60_000, held: [] })
    ),
  );
  assert.equal(claims.filter((answer) => answer.get(id)?.kind === "claimed").length, 1);
  assert.equal((await world.reprocess({ "message_ids": [id] })).body.reprocessed, 0);
});

Deno.test("POST /dlq/reprocess refuses a letter whose body is gone, and does nothing for the others", async () => {
  await using world = await scene();
  const [whole, gone] = [await world.dead(), await world.dead({ bodyRemoved: true })];
  const { status, body } = await world.reprocess({ "message_ids": [whole, gone] });
  assert.deepEqual([status, body.code], [409, "body_gone"]);
  assert.ok(body.details[0].startsWith(gone));
  assert.equal((await world.ask("GET", `/messages/${whole}`)).body.status, "failed");
});

Deno.test("a letter is sent again or its body is removed, never both", async () => {
  await using world = await scene();
  const id = await world.dead();
  await world.owner.run("begin");
  await world.owner.run(`update messages set body_removed_at = now(), body = null where id = '${id}'`);
  const waiting = world.reprocess({ "message_ids": [id] });
  await using watcher = await openSession({ url: world.api.database.ownerUrl });
  await untilLockIsAwaited(watcher, "order by id for update");
  await world.owner.run("commit");
  const { status, body } = await waiting;
  assert.deepEqual([status, body.code], [409, "body_gone"]);
  assert.equal((await world.ask("GET", `/messages/${id}`)).body.status, "failed");
});

Deno.test("POST /dlq/reprocess by filter tells beforehand, goes step by step, and passes over bodies that are gone", async () => {
  await using world = await scene();
  for (let n = 0; n < 3; n++) await world.dead({ sender: "a@example.com" });
  await world.dead({ sender: "a@example.com", bodyRemoved: true });
  const other = await world.dead({ sender: "b@example.com" });
  const filter = { sender: "A@example.com" };
  const dry = await world.reprocess({ filter, "dry_run": true });
  assert.deepEqual(dry.body, {
    reprocessed: 3,
    total: 4,
    "body_gone": 1,
    "dry_run": true,
    "next_cursor": null,
  });
  assert.equal((await world.ask("GET", "/dlq")).body.items.length, 5);
  let [done, cursor] = [0, undefined as string | undefined];
  for (let step = 0; step < 5; step++) {
    const { body } = await world.reprocess({ filter, limit: 2, ...(cursor !== undefined && { cursor }) });
    done += body.reprocessed;
    cursor = body.next_cursor ?? undefined;
    if (cursor === undefined) break;
  }
  assert.equal(done, 3);
  assert.equal((await world.ask("GET", `/messages/${other}`)).body.status, "failed");
  assert.equal((await world.queue.reserve(10, 0)).length, 3);
});

Deno.test("POST /dlq/reprocess takes no request without ids or filter, and none of another group's letters", async () => {
  await using world = await scene();
  for (const body of [{}, { "message_ids": [] }]) {
    const answer = await world.reprocess(body);
    assert.deepEqual([answer.status, answer.body.error], [
      400,
      "message_ids is required and must not be empty",
    ]);
  }
  const id = await world.dead();
  assert.equal((await world.reprocess({ "message_ids": [id], filter: {} })).status, 400);
  for (const more of [{ limit: 1 }, { cursor: "x" }]) {
    const ignored = await world.reprocess({ "message_ids": [id], ...more });
    assert.deepEqual([ignored.status, ignored.body.error], [400, "limit and cursor go with filter"]);
  }
  assert.equal((await world.reprocess({ "message_ids": ["1700000000000-0"] })).status, 400);
  const foreign = await world.api.ask("POST", "/api/v1/dlq/reprocess", {
    token: await world.foreign(),
    body: { "message_ids": [id] },
  });
  assert.deepEqual([foreign.status, foreign.body.reprocessed, foreign.body.body_gone], [200, 0, 0]);
  assert.equal((await world.ask("GET", `/messages/${id}`)).body.status, "failed");
});
