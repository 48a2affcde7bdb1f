import assert from "node:assert/strict";
import { openSession } from "../../lib/postgres/database.ts";
import { hashPassword } from "../../lib/users/password.ts";
import { addGroup, addPerson, type TestApi, testApi, testPassword } from "../support/api.ts";

const login = "/api/v1/auth/login";
const refresh = "/api/v1/auth/refresh";
const me = "/api/v1/auth/me";

async function sql(api: TestApi, text: string, values: readonly unknown[] = []) {
  await using session = await openSession({ url: api.database.ownerUrl });
  return await session.query(text, values);
}

Deno.test("login, refresh, logout: a session lives as its refresh tokens do, and ends with them", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  const user = await addPerson(api, "Ann@acme.example", [[group, "owner"]]);
  const first = await api.ask("POST", login, { body: { email: "ann@ACME.example", password: testPassword } });
  assert.equal(first.status, 200);
  assert.deepEqual(Object.keys(first.body), ["access_token", "refresh_token", "token_type", "expires_in"]);
  assert.equal(first.body.expires_in, 900);
  const who = await api.ask("GET", me, { token: first.body.access_token });
  assert.equal(who.status, 200);
  assert.deepEqual([who.body.user_id, who.body.group_id, who.body.role], [user, group, "owner"]);

  const asBearer = await api.ask("GET", me, { token: first.body.refresh_token });
  assert.equal(asBearer.status, 401);
  assert.equal(asBearer.headers.get("www-authenticate"), "Bearer");

  const second = await api.ask("POST", refresh, { body: { "refresh_token": first.body.refresh_token } });
  assert.equal(second.status, 200);
  assert.notEqual(second.body.refresh_token, first.body.refresh_token);
  const out = { body: { "refresh_token": second.body.refresh_token } };
  assert.equal((await api.ask("POST", "/api/v1/auth/logout", out)).status, 204);
  assert.equal((await api.ask("POST", "/api/v1/auth/logout", out)).status, 204);
  assert.equal((await api.ask("POST", refresh, out)).status, 401);
  assert.equal((await api.ask("GET", me, { token: second.body.access_token })).status, 401);
  const told = await sql(api, "select action from activity_logs where group_id = $1 order by id", [group]);
  assert.deepEqual(told.map((row) => row["action"]), ["auth.login", "auth.token_refresh", "auth.logout"]);
  assert.deepEqual(api.faults, []);
});

Deno.test("a refresh token used twice ends the whole family", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  await addPerson(api, "ann@acme.example", [[group, "owner"]]);
  const first = await api.ask("POST", login, { body: { email: "ann@acme.example", password: testPassword } });
  const body = { "refresh_token": first.body.refresh_token };
  const second = await api.ask("POST", refresh, { body });
  assert.equal(second.status, 200);
  assert.equal((await api.ask("POST", refresh, { body })).status, 401);
  const after = await api.ask("POST", refresh, { body: { "refresh_token": second.body.refresh_token } });
  assert.equal(after.status, 401);
  assert.equal((await api.ask("GET", me, { token: second.body.access_token })).status, 401);
  const [told] = await sql(
    api,
    "select count(*)::int as n from activity_logs where action = 'auth.refresh_reused'",
  );
  assert.equal(told?.["n"], 1);
});

Deno.test("login says the same of a wrong password, an unknown address and an SMTP account, and tells of each", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  await addPerson(api, "ann@acme.example", [[group, "owner"]]);
  const hash = await hashPassword(testPassword);
  await sql(
    api,
    `with u as (insert into users (email, username, account_type, password_hash)
      values ('smtp@acme.example', 'smtp', 'smtp', $1) returning id)
     insert into group_members (group_id, user_id, account_type) select $2, id, 'smtp' from u`,
    [hash, group],
  );
  const answers = [];
  for (
    const [email, password] of [["ann@acme.example", "wrong"], ["nobody@acme.example", "wrong"], [
      "smtp@acme.example",
      testPassword,
    ]]
  ) {
    const { status, body } = await api.ask("POST", login, { body: { email, password } });
    answers.push([status, body.error, body.code, Object.keys(body)]);
  }
  const same = [401, "invalid email or password", "credentials_wrong", ["error", "code", "correlation_id"]];
  assert.deepEqual(answers, [same, same, same]);
  const told = await sql(
    api,
    "select group_id from activity_logs where action = 'auth.login_failed' order by id",
  );
  assert.deepEqual(told.map((row) => row["group_id"]), [group, null, group]);
});

Deno.test("five failures lock an account for others and an address for all, and known clients come through", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  await addPerson(api, "ann@acme.example", [[group, "owner"]]);
  await addPerson(api, "bob@acme.example", [[group, "member"]]);
  const attempt = async (email: string, password: string, address: string) =>
    (await api.ask("POST", login, { body: { email, password }, address })).status;
  const home = "198.51.100.1";
  assert.equal(await attempt("ann@acme.example", testPassword, home), 200);
  const guesses = await Promise.all(
    Array.from({ length: 12 }, () => attempt("ann@acme.example", "guess", "203.0.113.5")),
  );
  assert.equal(guesses.filter((status) => status === 401).length, 5);
  assert.equal(guesses.filter((status) => status === 429).length, 7);
  assert.equal(await attempt("ann@acme.example", testPassword, "203.0.113.77"), 429, "the account is locked");
  assert.equal(await attempt("bob@acme.example", testPassword, "203.0.113.5"), 429, "the address is locked");
  assert.equal(await attempt("ann@acme.example", testPassword, home), 200, "a known client comes through");
  const locked = await api.ask("POST", login, {
    body: { email: "ann@acme.example", password: testPassword },
    address: "203.0.113.5",
  });
  assert.equal(locked.body.error, "too many login attempts, try again later");
  const wait = Number(locked.headers.get("retry-after"));
  assert.ok(wait > 800 && wait <= 900, String(wait));
  await sql(api, "update auth_attempts set failed_at = failed_at - interval '16 minutes'");
  assert.equal(await attempt("ann@acme.example", testPassword, "203.0.113.5"), 200, "the lock has ended");
});

Deno.test("many who log in at once from one address do not lock each other out", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  for (let n = 0; n < 8; n++) await addPerson(api, `p${n}@acme.example`, [[group, "member"]]);
  const tokens = await Promise.all(
    Array.from({ length: 16 }, (_, n) => api.login(`p${n % 8}@acme.example`)),
  );
  assert.equal(new Set(tokens).size, 16);
});

Deno.test("suspending a user, a membership or a group counts at the next request, refresh and login", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  const user = await addPerson(api, "ann@acme.example", [[group, "owner"]]);
  const body = { email: "ann@acme.example", password: testPassword };
  const changes = [
    [`update users set status = 'suspended' where id = '${user}'`, 401, "account is not active"],
    [`update users set status = 'active' where id = '${user}'`, 200, undefined],
    [`update groups set status = 'suspended' where id = '${group}'`, 403, "group is not active"],
    [`update groups set status = 'active' where id = '${group}'`, 200, undefined],
  ] as const;
  let pair = (await api.ask("POST", login, { body })).body;
  for (const [change, status, sentence] of changes) {
    await sql(api, change);
    const works = status === 200;
    assert.equal((await api.ask("GET", me, { token: pair.access_token })).status, works ? 200 : 401, change);
    const next = await api.ask("POST", refresh, { body: { "refresh_token": pair.refresh_token } });
    assert.equal(next.status, works ? 200 : 401, change);
    const again = await api.ask("POST", login, { body });
    assert.deepEqual([again.status, again.body.error], [status, sentence]);
    if (works) pair = again.body;
  }
  await sql(api, `delete from group_members where user_id = '${user}'`);
  assert.equal((await api.ask("GET", me, { token: pair.access_token })).status, 401);
  assert.equal((await api.ask("POST", login, { body })).body.error, "user has no group memberships");
});

Deno.test("a bcrypt hash of an older installation verifies and is replaced at login", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  // "U*U" hashed with cost 5, as published with crypt_blowfish.
  const hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
  const user = await addPerson(api, "old@acme.example", [[group, "owner"]], hash);
  const attempt = (password: string) =>
    api.ask("POST", login, { body: { email: "old@acme.example", password } });
  assert.equal((await attempt("U*V")).status, 401);
  assert.equal((await attempt("U*U")).status, 200);
  const [row] = await sql(api, "select password_hash from users where id = $1", [user]);
  assert.match(String(row?.["password_hash"]), /^\$scrypt\$/);
  assert.equal((await attempt("U*U")).status, 200);
});

Deno.test("a login that fails is answered when its time has come, whatever there is of the user; one that succeeds at once", async () => {
  const pauses: { readonly ms: number; readonly end: () => void }[] = [];
  const asked = { next: Promise.withResolvers<void>() };
  const pause = (ms: number) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    pauses.push({ ms, end: resolve });
    asked.next.resolve();
    return promise;
  };
  await using api = await testApi({ failure: { failAfterMs: 600_000, pause } });
  const group = await addGroup(api, "acme");
  await addPerson(api, "ann@acme.example", [[group, "member"]]);
  const hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
  await addPerson(api, "old@acme.example", [[group, "member"]], hash);
  await api.login("ann@acme.example");
  assert.equal(pauses.length, 0);
  for (const email of ["ann@acme.example", "old@acme.example", "nobody@acme.example"]) {
    asked.next = Promise.withResolvers<void>();
    let isAnswered = false;
    const answer = api.ask("POST", login, { body: { email, password: "wrong" } }).then((answer) => {
      isAnswered = true;
      return answer;
    });
    await asked.next.promise;
    const pause = pauses.at(-1);
    assert.ok(pause !== undefined && pause.ms > 0 && pause.ms < 600_000, `${pause?.ms} ms`);
    assert.equal(isAnswered, false);
    pause.end();
    assert.equal((await answer).status, 401);
  }
  assert.equal(pauses.length, 3);
});

Deno.test("switch-group opens a session in another of one's groups, and in no other", async () => {
  await using api = await testApi();
  const [first, second, other] = [
    await addGroup(api, "one"),
    await addGroup(api, "two"),
    await addGroup(api, "x"),
  ];
  await addPerson(api, "ann@acme.example", [[first, "owner"], [second, "member"]]);
  const token = await api.login("ann@acme.example", first);
  const path = "/api/v1/auth/switch-group";
  const switched = await api.ask("POST", path, { token, body: { "group_id": second } });
  assert.equal(switched.status, 200);
  const who = await api.ask("GET", me, { token: switched.body.access_token });
  assert.deepEqual([who.body.group_id, who.body.role], [second, "member"]);
  const told = await sql(
    api,
    "select group_id, changes ? 'target_group_id' as names from activity_logs where action = 'auth.switch_group' order by id",
  );
  assert.deepEqual(told, [{ "group_id": first, names: true }, { "group_id": second, names: false }]);
  for (const group of [other, crypto.randomUUID()]) {
    const refused = await api.ask("POST", path, { token, body: { "group_id": group } });
    assert.deepEqual([refused.status, refused.body.code], [403, "not_a_member"]);
  }
  const missing = await api.ask("POST", path, { token, body: {} });
  assert.deepEqual([missing.status, missing.body.error], [400, "group_id is required"]);
});

Deno.test("one's own password is changed by knowing it, and ends one's other sessions", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  await addPerson(api, "ann@acme.example", [[group, "member"]]);
  const [here, there] = [await api.login("ann@acme.example"), await api.login("ann@acme.example")];
  const change = (current: string) =>
    api.ask("PUT", "/api/v1/auth/password", {
      token: here,
      body: { "current_password": current, "new_password": "battery staple" },
    });
  assert.equal((await change("wrong")).status, 400);
  assert.equal((await change(testPassword)).status, 204);
  assert.equal((await api.ask("GET", me, { token: here })).status, 200);
  assert.equal((await api.ask("GET", me, { token: there })).status, 401);
  await assert.rejects(api.login("ann@acme.example"));
});

Deno.test("whoever has a token guesses its owner's password no more often than at login, and each guess is told", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  const user = await addPerson(api, "ann@acme.example", [[group, "member"]]);
  const token = await api.login("ann@acme.example");
  const change = (current: string, address = "203.0.113.5") =>
    api.ask("PUT", "/api/v1/auth/password", {
      token,
      address,
      body: { "current_password": current, "new_password": "battery staple" },
    });
  const guesses = await Promise.all(Array.from({ length: 8 }, () => change("guess")));
  assert.deepEqual(guesses.map(({ status }) => status).sort(), [400, 400, 400, 400, 400, 429, 429, 429]);
  assert.equal((await change(testPassword)).status, 429, "also with the right one");
  const told = await sql(
    api,
    "select group_id, actor_id from activity_logs where action = 'auth.password_refused'",
  );
  assert.deepEqual(told, Array.from({ length: 5 }, () => ({ "group_id": group, "actor_id": user })));
  assert.equal((await change(testPassword, "192.0.2.10")).status, 204, "a known client comes through");
});

Deno.test("sessions that have ended go as others begin, and a user keeps twenty at most", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "acme");
  const user = await addPerson(api, "ann@acme.example", [[group, "member"]]);
  const other = await addPerson(api, "bob@acme.example", [[group, "member"]], "none");
  await sql(
    api,
    `insert into sessions (group_id, user_id, refresh_token_hash, expires_at, refreshed_at)
     select $1, case when n <= 25 then $2::uuid else $3::uuid end, sha256(n::text::bytea),
       now() + case when n <= 25 then interval '1 day' else interval '-1 day' end, now() - interval '1 day'
     from generate_series(1, 30) n`,
    [group, user, other],
  );
  const token = await api.login("ann@acme.example");
  const listed = await api.ask("GET", "/api/v1/sessions", { token });
  assert.equal(listed.body.items.length, 20);
  assert.equal(listed.body.items.filter((session: { current: boolean }) => session.current).length, 1);
  const [left] = await sql(api, "select count(*)::int as n from sessions where user_id = $1", [other]);
  assert.equal(left?.["n"], 0);
});
