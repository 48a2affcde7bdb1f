import assert from "node:assert/strict";
import { openSession } from "../../lib/postgres/database.ts";
import { addGroup, addPerson, type TestApi, testApi } from "../support/api.ts";
import { twoGroups } from "../support/two_groups.ts";

const groups = "/api/v1/groups";

async function sql(api: TestApi, text: string, values: readonly unknown[] = []) {
  await using session = await openSession({ url: api.database.ownerUrl });
  return await session.query(text, values);
}

async function operator(api: TestApi, role = "owner") {
  const [found] = await sql(api, "select id from groups where group_type = 'system'");
  const system = found?.["id"] as string ?? await addGroup(api, "system", "system");
  const email = `${role}-${crypto.randomUUID()}@operator.example`;
  const user = await addPerson(api, email, [[system, role]]);
  return { system, user, token: await api.login(email) };
}

Deno.test("a system administrator creates a company and its first owner, who finds it alone", async () => {
  await using api = await testApi();
  const { system, user, token } = await operator(api);
  const made = await api.ask("POST", groups, {
    token,
    body: { name: "acme", "allowed_domains": ["acme.example"] },
  });
  assert.equal(made.status, 201);
  assert.deepEqual(
    [made.body.group_type, made.body.status, made.body.monthly_limit, made.body.monthly_sent],
    [
      "company",
      "active",
      10_000,
      0,
    ],
  );
  const again = await api.ask("POST", groups, { token, body: { name: "acme" } });
  assert.deepEqual([again.status, again.body.error], [409, "group name already exists"]);
  const owner = {
    email: "o@acme.example",
    password: "correct horse",
    "group_id": made.body.id,
    role: "owner",
  };
  assert.equal((await api.ask("POST", "/api/v1/users", { token, body: owner })).status, 201);
  const theirs = await api.login("o@acme.example");
  assert.equal((await api.ask("GET", `${groups}/${made.body.id}`, { token: theirs })).status, 200);
  const other = await api.ask("GET", `${groups}/${system}`, { token: theirs });
  const none = await api.ask("GET", `${groups}/${crypto.randomUUID()}`, { token: theirs });
  assert.deepEqual([other.status, other.body.error], [none.status, none.body.error]);
  assert.equal((await api.ask("GET", groups, { token: theirs })).status, 403);
  assert.equal((await api.ask("GET", groups, { token })).body.length, 2);
  const told = (await api.ask("GET", `${groups}/${made.body.id}/activity`, { token: theirs })).body;
  const create = told.find((entry: { action: string }) => entry.action === "admin.create_group");
  assert.deepEqual([create.actor_id, create.actor_group_id, create.group_id], [user, system, made.body.id]);
});

Deno.test("an owner changes the name and networks, operators limits and status, and each change is told", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  await addPerson(api, "o@acme.example", [[group, "owner"]]);
  const token = await api.login("o@acme.example");
  const path = `${groups}/${group}`;
  const named = await api.ask("PATCH", path, {
    token,
    body: { name: "acme ltd", "allowed_ips": ["10.1.2.3/8"] },
  });
  assert.deepEqual([named.status, named.body.name, named.body.allowed_ips], [200, "acme ltd", [
    "10.0.0.0/8",
  ]]);
  const nul = await api.ask("PATCH", path, { token, body: { name: "a\0b" } });
  assert.deepEqual([nul.status, nul.body.code], [400, "request_invalid"]);
  for (const body of [{ "monthly_limit": 0 }, { status: "active" }, { "allowed_domains": ["*"] }]) {
    assert.equal((await api.ask("PATCH", path, { token, body })).status, 403);
  }
  const { token: admin, system } = await operator(api, "admin");
  const limited = await api.ask("PATCH", path, {
    token: admin,
    body: { "monthly_limit": 5, status: "suspended" },
  });
  assert.deepEqual([limited.status, limited.body.monthly_limit, limited.body.status], [200, 5, "suspended"]);
  assert.equal((await api.ask("GET", path, { token })).status, 401, "suspended at once");
  const [told] =
    (await api.ask("GET", `${path}/activity?action=admin.update_group&limit=1`, { token: admin })).body;
  assert.deepEqual(told.changes, { status: ["active", "suspended"], "monthly_limit": [0, 5] });
  assert.equal(told.actor_group_id, system);
  const suspended = await api.ask("PATCH", `${groups}/${system}`, {
    token: admin,
    body: { status: "suspended" },
  });
  assert.deepEqual([suspended.status, suspended.body.code], [403, "system_group_protected"]);
});

Deno.test("a group keeps bodies for a shorter time than the settings say, never for longer", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  await addPerson(api, "o@acme.example", [[group, "owner"]]);
  await addPerson(api, "a@acme.example", [[group, "admin"]]);
  const token = await api.login("o@acme.example");
  const path = `${groups}/${group}`;
  const change = (retention: object) => api.ask("PATCH", path, { token, body: { retention } });
  const none = { delivered: null, failed: null };
  assert.deepEqual((await api.ask("GET", path, { token })).body.retention, none);
  assert.deepEqual((await change({ delivered: 0 })).body.retention, { delivered: 0, failed: null });
  assert.deepEqual((await change({ failed: 86_400 })).body.retention, { delivered: 0, failed: 86_400 });
  const [stored] = await sql(
    api,
    `select retention_delivered = interval '0' and retention_failed = interval '1 day' as is_right from groups
     where id = $1`,
    [group],
  );
  assert.equal(stored?.["is_right"], true);
  for (
    const [field, value] of [["delivered", 604_801], ["failed", 2_592_001], ["failed", -1], ["failed", 1.5]]
  ) {
    const refused = await change({ [field as string]: value });
    assert.deepEqual([refused.status, refused.body.field], [400, `retention.${field}`]);
  }
  assert.equal((await change({ rows: 1 })).status, 400);
  const [told] = (await api.ask("GET", `${path}/activity?action=admin.update_group&limit=1`, { token })).body;
  assert.deepEqual(told.changes, {
    retention: [{ delivered: 0, failed: null }, { delivered: 0, failed: 86_400 }],
  });
  assert.deepEqual((await change(none)).body.retention, none);
  const admin = await api.login("a@acme.example");
  assert.equal((await api.ask("PATCH", path, { token: admin, body: { retention: none } })).status, 403);
  assert.deepEqual(api.faults, []);
});

Deno.test("deleting a group waits for its mail or cancels it, suspends its accounts, and spares the system", async () => {
  await using api = await testApi();
  const [alpha] = await twoGroups(api.database.ownerUrl);
  const { token, system } = await operator(api);
  const path = `${groups}/${alpha.group}`;
  const waiting = await api.ask("DELETE", path, { token });
  assert.deepEqual([waiting.status, waiting.body.code], [409, "mail_unfinished"]);
  assert.equal((await api.ask("DELETE", `${path}?mail=keep`, { token })).status, 400);
  assert.equal((await api.ask("DELETE", `${path}?mail=cancel`, { token })).status, 204);
  const [message] = await sql(api, "select status, failure_code from messages where id = $1", [
    alpha.message,
  ]);
  assert.deepEqual(message, { status: "cancelled", "failure_code": "cancelled" });
  const [recipient] = await sql(api, "select status from recipients where message_id = $1", [alpha.message]);
  assert.equal(recipient?.["status"], "cancelled");
  const [account] = await sql(api, "select status from users where id = $1", [alpha.user]);
  assert.equal(account?.["status"], "suspended");
  const [other] = await sql(api, "select count(*)::int as n from messages where status = 'queued'");
  assert.equal(other?.["n"], 1, "the other group's mail waits on");
  const protectedGroup = await api.ask("DELETE", `${groups}/${system}`, { token });
  assert.deepEqual([protectedGroup.status, protectedGroup.body.error], [403, "cannot delete system group"]);
  assert.deepEqual(api.faults, []);
});

Deno.test("system administrators act in a group that they name, and nobody else names any", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  const member = await addPerson(api, "m@acme.example", [[group, "member"]]);
  const { system, user, token } = await operator(api, "admin");
  const headers = { "x-group-id": group };
  const listed = await api.ask("GET", "/api/v1/users", { token, headers });
  assert.deepEqual(listed.body.map(({ id }: { id: string }) => id), [member]);
  assert.equal((await api.ask("GET", "/api/v1/users", { token })).body.length, 2);
  assert.equal((await api.ask("GET", `/api/v1/users/${user}`, { token, headers })).status, 404);
  const who = await api.ask("GET", "/api/v1/auth/me", { token, headers });
  assert.deepEqual([who.body.group_id, who.body.acting_group_id], [system, group]);
  const unknown = { token, headers: { "x-group-id": crypto.randomUUID() } };
  assert.equal((await api.ask("GET", "/api/v1/auth/me", unknown)).status, 404);
  assert.equal(
    (await api.ask("GET", "/api/v1/auth/me", { token, headers: { "x-group-id": "x" } })).status,
    400,
  );
  const theirs = await api.login("m@acme.example");
  assert.equal((await api.ask("GET", "/api/v1/auth/me", { token: theirs, headers })).status, 200);
  const foreign = { token: theirs, headers: { "x-group-id": system } };
  assert.equal((await api.ask("GET", "/api/v1/auth/me", foreign)).status, 404);
});

Deno.test("a system administrator touches no system owner; a system member changes nothing", async () => {
  await using api = await testApi();
  const owner = await operator(api, "owner");
  const admin = await operator(api, "admin");
  const member = await operator(api, "member");
  const path = `/api/v1/users/${owner.user}`;
  for (const { token } of [admin, member]) {
    assert.equal((await api.ask("DELETE", path, { token })).status, 403);
    assert.equal((await api.ask("PATCH", path, { token, body: { password: "taken over" } })).status, 403);
    const role = { token, body: { role: "owner" } };
    const own = `${groups}/${owner.system}/members/${admin.user}`;
    assert.equal((await api.ask("PATCH", own, role)).status, 403);
  }
  assert.equal((await api.ask("GET", "/api/v1/users", { token: member.token })).status, 200);
  assert.equal((await api.ask("POST", groups, { token: member.token, body: { name: "x" } })).status, 403);
});

Deno.test("a system administrator adds a user of another group; members and roles are told", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  const other = await addGroup(api, "other");
  const user = await addPerson(api, "o@other.example", [[other, "owner"]]);
  const { token } = await operator(api, "admin");
  const path = `${groups}/${group}/members`;
  const added = await api.ask("POST", path, { token, body: { "user_id": user, role: "admin" } });
  assert.equal(added.status, 201);
  assert.deepEqual([added.body.group_id, added.body.user_id, added.body.role], [group, user, "admin"]);
  assert.equal((await api.ask("POST", path, { token, body: { "user_id": user } })).status, 409);
  assert.equal((await api.ask("PATCH", `${path}/${user}`, { token, body: { role: "owner" } })).status, 200);
  const last = await api.ask("PATCH", `${path}/${user}`, { token, body: { role: "member" } });
  assert.deepEqual([last.status, last.body.error], [409, "cannot demote the last owner"]);
  const removed = await api.ask("DELETE", `${path}/${user}`, { token });
  assert.deepEqual([removed.status, removed.body.error], [409, "cannot remove the last owner"]);
  const told = (await api.ask("GET", `${groups}/${group}/activity`, { token })).body;
  assert.deepEqual(told.map((entry: { action: string }) => entry.action), [
    "admin.update_member_role",
    "admin.add_member",
  ]);
  assert.deepEqual(told[0].changes, { "old_role": "admin", "new_role": "owner", "user_id": user });
});

Deno.test("activities are listed each once, whether one begins by offset or by cursor", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  await addPerson(api, "o@acme.example", [[group, "owner"]]);
  const token = await api.login("o@acme.example");
  await sql(
    api,
    `insert into activity_logs (group_id, action, resource_type)
     select $1, 'test.' || n, 'test' from generate_series(1, 9) n`,
    [group],
  );
  const path = `${groups}/${group}/activity`;
  const all = (await api.ask("GET", path, { token })).body.map(({ id }: { id: string }) => id);
  assert.equal(all.length, 10);
  const seen: string[] = [];
  let next = `${path}?limit=3&offset=2`;
  while (next !== "") {
    const answer = await api.ask("GET", next, { token });
    assert.equal(answer.status, 200);
    seen.push(...answer.body.map(({ id }: { id: string }) => id));
    next = /<([^>]+)>/.exec(answer.headers.get("link") ?? "")?.[1] ?? "";
  }
  assert.deepEqual(seen, all.slice(2));
  const { headers } = await api.ask("GET", `${path}?limit=3`, { token });
  const both = await api.ask("GET", `${path}?offset=1&cursor=${headers.get("x-next-cursor")}`, { token });
  assert.deepEqual([both.status, both.body.field], [400, "offset"]);
});
