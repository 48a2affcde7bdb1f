import assert from "node:assert/strict";
import { openSession } from "../../lib/postgres/database.ts";
import { addGroup, addPerson, type TestApi, testApi } from "../support/api.ts";
import { until } from "../support/until.ts";

const users = "/api/v1/users";

async function sql(api: TestApi, text: string, values: readonly unknown[] = []) {
  await using session = await openSession({ url: api.database.ownerUrl });
  return await session.query(text, values);
}

async function company(api: TestApi, name = "acme") {
  const group = await addGroup(api, name);
  const owner = await addPerson(api, `owner@${name}.example`, [[group, "owner"]]);
  return { group, owner, token: await api.login(`owner@${name}.example`) };
}

Deno.test("POST /users makes an SMTP account with a key shown once, all or nothing, and tells of it", async () => {
  await using api = await testApi();
  const { group, owner, token } = await company(api);
  await sql(api, `update groups set allowed_domains = '["acme.example"]' where id = $1`, [group]);
  const body = {
    email: "app@acme.example",
    "account_type": "smtp",
    username: "app",
    password: "smtp password",
    "allowed_domains": ["ACME.example"],
  };
  const made = await api.ask("POST", users, { token, body });
  assert.equal(made.status, 201);
  assert.match(made.body.api_key, /^sp_/);
  assert.deepEqual([made.body.account_type, made.body.username, made.body.allowed_domains], [
    "smtp",
    "app",
    ["acme.example"],
  ]);
  const read = await api.ask("GET", `${users}/${made.body.id}`, { token });
  assert.equal(read.body.api_key, undefined);
  assert.equal(
    (await api.ask("GET", "/api/v1/auth/me", { token: made.body.api_key })).status,
    403,
    "send alone",
  );

  const taken = await api.ask("POST", users, { token, body: { ...body, username: "other" } });
  assert.deepEqual([taken.status, taken.body.error, taken.body.code], [
    409,
    "email already in use",
    "email_taken",
  ]);
  const foreign = { ...body, email: "b@acme.example", username: "b", "allowed_domains": ["other.example"] };
  const outside = await api.ask("POST", users, { token, body: foreign });
  assert.deepEqual([outside.status, outside.body.field], [400, "allowed_domains"]);
  const left = await sql(api, "select count(*)::int as n from users where account_type = 'smtp'");
  assert.equal(left[0]?.["n"], 1);

  const [told] =
    (await api.ask("GET", `/api/v1/groups/${group}/activity?action=admin.create_user`, { token })).body;
  assert.deepEqual([told.actor_id, told.resource_id, told.group_id], [owner, made.body.id, group]);
  assert.equal(JSON.stringify(told).includes(made.body.api_key), false);
  const dump = JSON.stringify(await sql(api, "select * from api_keys")) +
    JSON.stringify(await sql(api, "select * from activity_logs")) +
    JSON.stringify(await sql(api, "select * from users"));
  for (const secret of [made.body.api_key, "smtp password"]) assert.equal(dump.includes(secret), false);
});

Deno.test("POST /users answers validation_failed with every fault, and takes `user` for `human`", async () => {
  await using api = await testApi();
  const { token } = await company(api);
  const bad = await api.ask("POST", users, { token, body: { "account_type": "robot", role: "king" } });
  assert.equal(bad.status, 400);
  assert.equal(bad.body.error, "validation_failed");
  assert.deepEqual(bad.body.details, [
    "email is required",
    "account_type must be one of: user, smtp",
    "role must be one of: owner, admin, member",
  ]);
  const bare = await api.ask("POST", users, { token, body: { email: "a@acme.example" } });
  assert.deepEqual(bare.body.details, ["password is required for user accounts"]);
  const made = await api.ask("POST", users, {
    token,
    body: { email: "a@acme.example", "account_type": "user", password: "long enough" },
  });
  assert.deepEqual([made.status, made.body.account_type, made.body.api_key], [201, "human", undefined]);
});

Deno.test("admins touch members alone, and nobody makes owners but owners", async () => {
  await using api = await testApi();
  const { group, owner } = await company(api);
  await addPerson(api, "admin@acme.example", [[group, "admin"]]);
  const other = await addPerson(api, "other@acme.example", [[group, "admin"]]);
  const token = await api.login("admin@acme.example");
  const person = { email: "new@acme.example", password: "long enough" };
  const asOwner = await api.ask("POST", users, { token, body: { ...person, role: "owner" } });
  assert.deepEqual([asOwner.status, asOwner.body.error], [403, "only owners can create owner accounts"]);
  assert.equal((await api.ask("POST", users, { token, body: { ...person, role: "admin" } })).status, 403);
  assert.equal((await api.ask("POST", users, { token, body: person })).status, 201);
  for (const target of [owner, other]) {
    assert.equal((await api.ask("DELETE", `${users}/${target}`, { token })).status, 403);
    const status = { token, body: { status: "suspended" } };
    assert.equal((await api.ask("PATCH", `${users}/${target}/status`, status)).status, 403);
    assert.equal(
      (await api.ask("PATCH", `${users}/${target}`, { token, body: { password: "taken over" } })).status,
      403,
    );
  }
});

Deno.test("a user of several groups is nobody's alone: a group can end the membership and nothing else", async () => {
  await using api = await testApi();
  const { group, token } = await company(api);
  const elsewhere = await addGroup(api, "elsewhere");
  const shared = await addPerson(api, "shared@acme.example", [[group, "member"], [elsewhere, "owner"]]);
  const change = await api.ask("PATCH", `${users}/${shared}`, { token, body: { password: "taken over" } });
  assert.deepEqual([change.status, change.body.code], [403, "user_is_shared"]);
  const status = { token, body: { status: "suspended" } };
  assert.equal((await api.ask("PATCH", `${users}/${shared}/status`, status)).status, 403);
  assert.equal((await api.ask("DELETE", `${users}/${shared}`, { token })).status, 204);
  assert.equal((await api.ask("GET", `${users}/${shared}`, { token })).status, 404);
  await api.login("shared@acme.example", elsewhere);
});

Deno.test("a system administrator who names a group takes the user out of it alone; else each group is told", async () => {
  await using api = await testApi();
  const { group } = await company(api);
  const other = await company(api, "other");
  const system = await addGroup(api, "system", "system");
  await addPerson(api, "root@operator.example", [[system, "owner"]]);
  const root = await api.login("root@operator.example");
  const user = await addPerson(api, "both@x.example", [[group, "owner"], [other.group, "member"]]);
  const path = `${users}/${user}`;
  const of = async (id: string, action: string) =>
    (await sql(api, "select changes from activity_logs where group_id = $1 and action = $2", [id, action]))
      .length;
  assert.equal((await api.ask("PATCH", path, { token: root, body: { email: "b@x.example" } })).status, 200);
  assert.deepEqual(
    [await of(group, "admin.update_user"), await of(other.group, "admin.update_user")],
    [1, 1],
  );
  const named = await api.ask("DELETE", path, { token: root, headers: { "x-group-id": other.group } });
  assert.equal(named.status, 204);
  const memberships = await sql(api, "select group_id from group_members where user_id = $1", [user]);
  assert.deepEqual(memberships, [{ "group_id": group }]);
  assert.deepEqual(
    [await of(group, "admin.delete_user"), await of(other.group, "admin.delete_user")],
    [0, 1],
  );
  assert.equal((await api.ask("GET", path, { token: root })).body.status, "active");
  assert.equal((await api.ask("DELETE", path, { token: root })).status, 204);
  assert.equal((await api.ask("GET", path, { token: root })).status, 404);
  assert.equal(await of(group, "admin.delete_user"), 1);
  assert.deepEqual(api.faults, []);
});

Deno.test("the last owner stays in every pair of ways that two owners may go at once", async () => {
  await using api = await testApi({ attempts: 1000 });
  const group = await addGroup(api, "acme");
  const members = `/api/v1/groups/${group}/members`;
  const ways = [
    (id: string, token: string) => api.ask("DELETE", `${users}/${id}`, { token }),
    (id: string, token: string) =>
      api.ask("PATCH", `${users}/${id}/status`, { token, body: { status: "suspended" } }),
    (id: string, token: string) => api.ask("PATCH", `${members}/${id}`, { token, body: { role: "member" } }),
    (id: string, token: string) => api.ask("DELETE", `${members}/${id}`, { token }),
  ];
  for (const [n, first] of ways.entries()) {
    for (const [m, second] of ways.entries()) {
      const [a, b] = [`a${n}${m}@acme.example`, `b${n}${m}@acme.example`];
      const [ann, bob] = [
        await addPerson(api, a, [[group, "owner"]]),
        await addPerson(api, b, [[group, "owner"]]),
      ];
      const [annToken, bobToken] = [await api.login(a), await api.login(b)];
      const answers = await Promise.all([first(bob, annToken), second(ann, bobToken)]);
      const left = await sql(
        api,
        `select m.user_id from group_members m join users u on u.id = m.user_id
         where m.group_id = $1 and m.role = 'owner' and u.status = 'active'`,
        [group],
      );
      assert.equal(left.length, 1, `${n} ${m}: ${JSON.stringify(answers.map(({ body }) => body))}`);
      assert.ok(answers.every(({ status }) => status < 500));
      await sql(api, "update users set status = 'active' where status = 'suspended'");
      await sql(api, "update group_members set role = 'member' where group_id = $1", [group]);
    }
  }
  assert.deepEqual(api.faults, []);
});

Deno.test("a deleted user is gone from every list, frees the address, and stays in the history", async () => {
  await using api = await testApi();
  const { group, token } = await company(api);
  const body = { email: "app@acme.example", "account_type": "smtp", username: "app" };
  const made = await api.ask("POST", users, { token, body });
  assert.equal((await api.ask("DELETE", `${users}/${made.body.id}`, { token })).status, 204);
  assert.equal((await api.ask("DELETE", `${users}/${made.body.id}`, { token })).status, 404);
  assert.equal((await api.ask("GET", "/api/v1/auth/me", { token: made.body.api_key })).status, 401);
  assert.equal((await api.ask("GET", users, { token })).body.length, 1);
  assert.equal((await api.ask("POST", users, { token, body })).status, 201);
  const path = `/api/v1/groups/${group}/activity?resource_id=${made.body.id}`;
  const told = (await api.ask("GET", path, { token })).body.map((entry: { action: string }) => entry.action);
  assert.deepEqual(told, ["admin.delete_user", "admin.create_user"]);
});

Deno.test("the last owner stays, whoever of two removes the other first, and however often", async () => {
  await using api = await testApi();
  const { group, owner, token } = await company(api);
  const second = await addPerson(api, "second@acme.example", [[group, "owner"]]);
  const other = await api.login("second@acme.example");
  const members = `/api/v1/groups/${group}/members`;
  const answers = await Promise.all([
    api.ask("DELETE", `${users}/${second}`, { token }),
    api.ask("PATCH", `${users}/${owner}/status`, { token: other, body: { status: "suspended" } }),
    api.ask("PATCH", `${members}/${owner}`, { token: other, body: { role: "member" } }),
    api.ask("DELETE", `${members}/${second}`, { token }),
  ]);
  assert.ok(answers.every(({ status }) => status < 500), JSON.stringify(answers.map(({ body }) => body)));
  const left = await sql(
    api,
    `select count(*)::int as n from group_members m join users u on u.id = m.user_id
     where m.group_id = $1 and m.role = 'owner' and u.status = 'active'`,
    [group],
  );
  assert.equal(left[0]?.["n"], 1);
  assert.deepEqual(api.faults, []);
});

Deno.test("nobody deletes or suspends themselves, and an SMTP account never loses its group", async () => {
  await using api = await testApi();
  const { group, owner, token } = await company(api);
  await addPerson(api, "second@acme.example", [[group, "owner"]]);
  const self = await api.ask("DELETE", `${users}/${owner}`, { token });
  assert.deepEqual([self.status, self.body.code], [409, "self_deletion"]);
  const status = { token, body: { status: "suspended" } };
  assert.equal((await api.ask("PATCH", `${users}/${owner}/status`, status)).status, 409);
  const body = { email: "app@acme.example", "account_type": "smtp" };
  const made = await api.ask("POST", users, { token, body });
  const removed = await api.ask("DELETE", `/api/v1/groups/${group}/members/${made.body.id}`, { token });
  assert.deepEqual([removed.status, removed.body.code], [409, "conflict"]);
});

Deno.test("keys are made with scopes and an end, listed without the key, used by the minute, and revoked", async () => {
  await using api = await testApi();
  const { token } = await company(api);
  const made = await api.ask("POST", users, {
    token,
    body: { email: "app@acme.example", "account_type": "smtp" },
  });
  const path = `${users}/${made.body.id}/api-keys`;
  const body = { name: "reports", scopes: ["self:read", "activity:read"] };
  const past = await api.ask("POST", path, {
    token,
    body: { ...body, "expires_at": "2020-01-01T00:00:00Z" },
  });
  assert.deepEqual([past.status, past.body.field], [400, "expires_at"]);
  assert.equal(
    (await api.ask("POST", path, { token, body: { ...body, scopes: ["users:write"] } })).status,
    400,
  );
  const key = await api.ask("POST", path, {
    token,
    body: { ...body, "expires_at": "2099-01-01T00:00:00+01:00" },
  });
  assert.equal(key.status, 201);
  assert.equal(key.body.expires_at, "2098-12-31T23:00:00.000Z");
  assert.equal((await api.ask("GET", "/api/v1/auth/me", { token: key.body.api_key })).status, 200);
  const denied = await api.ask("GET", users, { token: key.body.api_key });
  assert.deepEqual([denied.status, denied.body.code], [403, "scope_missing"]);
  const listed = await api.ask("GET", path, { token });
  assert.equal(listed.body.items.length, 2);
  assert.equal(JSON.stringify(listed.body).includes(key.body.api_key), false);
  // Written down beside the request, which does not wait for it.
  await until("the key's use is written down", async () => {
    const [row] = await sql(api, "select last_used_at from api_keys where id = $1", [key.body.id]);
    return row?.["last_used_at"] instanceof Date;
  });
  assert.equal((await api.ask("DELETE", `${path}/${key.body.id}`, { token })).status, 204);
  assert.equal((await api.ask("DELETE", `${path}/${key.body.id}`, { token })).status, 404);
  assert.equal((await api.ask("GET", "/api/v1/auth/me", { token: key.body.api_key })).status, 401);
});

Deno.test("an account has twenty keys in force however many are made at once, and what has ended is no key", async () => {
  await using api = await testApi();
  const { token } = await company(api);
  const account = { email: "app@acme.example", "account_type": "smtp" };
  const { id, api_key: first } = (await api.ask("POST", users, { token, body: account })).body;
  const path = `${users}/${id}/api-keys`;
  const make = () => api.ask("POST", path, { token, body: { name: "k", scopes: ["self:read"] } });
  for (let n = 0; n < 16; n++) assert.equal((await make()).status, 201);
  const last = await Promise.all(Array.from({ length: 8 }, make));
  assert.deepEqual(last.map(({ status }) => status).sort(), [201, 201, 201, 409, 409, 409, 409, 409]);
  const key = last.find(({ status }) => status === 201)?.body;
  await sql(api, "update api_keys set expires_at = now() where id = $1", [key.id]);
  const unknown = await api.ask("GET", "/api/v1/auth/me", { token: `sp_00000000_${"A".repeat(43)}` });
  const ended = await api.ask("GET", "/api/v1/auth/me", { token: key.api_key });
  assert.deepEqual([ended.status, ended.body.error], [401, "invalid credentials"]);
  assert.deepEqual([ended.status, ended.body.error], [unknown.status, unknown.body.error]);
  assert.equal((await make()).status, 201, "one that has ended takes no place");
  await sql(api, "update users set status = 'suspended' where id = $1", [id]);
  const suspended = await api.ask("GET", "/api/v1/auth/me", { token: first });
  assert.deepEqual([suspended.status, suspended.body.error], [401, "account is not active"]);
});

Deno.test("lists page by a cursor of their own to the last item, each item once", async () => {
  await using api = await testApi();
  const { group, token } = await company(api);
  for (let n = 0; n < 7; n++) await addPerson(api, `p${n}@acme.example`, [[group, "member"]], "none");
  for (const path of [users, `/api/v1/groups/${group}/members`]) {
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const from: string = cursor === "" ? "" : `&cursor=${cursor}`;
      const page = await api.ask("GET", `${path}?limit=3${from}`, { token });
      assert.equal(page.status, 200);
      seen.push(...page.body.map((item: { id: string }) => item.id));
      cursor = page.headers.get("x-next-cursor");
      if (cursor !== null) assert.ok(page.headers.get("link")?.includes(`cursor=${cursor}`));
    }
    assert.equal(seen.length, 8, path);
    assert.equal(new Set(seen).size, 8, path);
  }
  const first = await api.ask("GET", `${users}?limit=3`, { token });
  const other = await api.ask(
    "GET",
    `/api/v1/groups/${group}/members?cursor=${first.headers.get("x-next-cursor")}`,
    { token },
  );
  assert.deepEqual([other.status, other.body.field], [400, "cursor"]);
  for (const query of ["limit=0", "limit=201", "limit=x", "cursor=x", "page=2"]) {
    assert.equal((await api.ask("GET", `${users}?${query}`, { token })).status, 400, query);
  }
});
