import assert from "node:assert/strict";
import { openSession } from "../../lib/postgres/database.ts";
import { addGroup, addPerson, testApi, testPassword } from "../support/api.ts";

Deno.test("an invitation tells nothing, makes the user of its address a member, and holds once", async () => {
  await using api = await testApi();
  const [acme, other] = [await addGroup(api, "acme"), await addGroup(api, "other")];
  await addPerson(api, "owner@acme.example", [[acme, "owner"]]);
  await addPerson(api, "ann@other.example", [[other, "owner"]]);
  await addPerson(api, "bob@other.example", [[other, "member"]]);
  const token = await api.login("owner@acme.example");
  const path = `/api/v1/groups/${acme}/invitations`;
  const invite = async (email: string) =>
    await api.ask("POST", path, { token, body: { email, role: "admin" } });
  const [known, unknown] = [await invite("ANN@other.example"), await invite("nobody@other.example")];
  assert.deepEqual([known.status, Object.keys(known.body)], [unknown.status, Object.keys(unknown.body)]);
  assert.equal((await api.ask("GET", "/api/v1/users", { token })).body.length, 1);
  const accept = (token: string, handed: string) =>
    api.ask("POST", "/api/v1/auth/accept-invitation", { token, body: { token: handed } });
  assert.equal((await accept(await api.login("bob@other.example"), known.body.token)).status, 400);
  const ann = await api.login("ann@other.example");
  const joined = await accept(ann, known.body.token);
  assert.deepEqual([joined.status, joined.body], [200, { "group_id": acme, role: "admin" }]);
  assert.equal((await accept(ann, known.body.token)).status, 400);
  await api.login("ann@other.example", acme);
  assert.equal((await api.ask("GET", "/api/v1/users", { token })).body.length, 2);
  await using session = await openSession({ url: api.database.ownerUrl });
  const rows = JSON.stringify(await session.run("select * from one_time_tokens"));
  assert.equal(rows.includes(known.body.token), false);
});

Deno.test("a password reset is offered to members of lesser rank, sets the password once and ends the sessions", async () => {
  await using api = await testApi();
  const [acme, other] = [await addGroup(api, "acme"), await addGroup(api, "other")];
  const owner = await addPerson(api, "owner@acme.example", [[acme, "owner"]]);
  await addPerson(api, "admin@acme.example", [[acme, "admin"]]);
  const ann = await addPerson(api, "ann@acme.example", [[acme, "member"]]);
  const shared = await addPerson(api, "shared@acme.example", [[acme, "member"], [other, "owner"]]);
  const token = await api.login("admin@acme.example");
  const offer = (user: string) => api.ask("POST", `/api/v1/users/${user}/password-reset`, { token });
  assert.equal((await offer(owner)).status, 403);
  assert.equal((await offer(shared)).body.code, "user_is_shared");
  const handed = await offer(ann);
  assert.equal(handed.status, 201);
  const before = await api.login("ann@acme.example");
  const body = { token: handed.body.token, "new_password": "battery staple" };
  const answers = await Promise.all(
    [1, 2, 3].map(() => api.ask("POST", "/api/v1/auth/reset-password", { body })),
  );
  assert.deepEqual(answers.map(({ status }) => status).sort(), [204, 400, 400]);
  assert.equal((await api.ask("GET", "/api/v1/auth/me", { token: before })).status, 401);
  const login = (password: string) =>
    api.ask("POST", "/api/v1/auth/login", { body: { email: "ann@acme.example", password } });
  assert.equal((await login(testPassword)).status, 401);
  assert.equal((await login("battery staple")).status, 200);
  const told = await api.ask("GET", `/api/v1/groups/${acme}/activity?action=auth.password_reset`, { token });
  assert.equal(told.body[0].actor_id, ann);
});
