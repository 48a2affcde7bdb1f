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

Deno.test("invitations are listed without their tokens, withdrawn by whoever may give the role, and bounded", async () => {
  await using api = await testApi();
  const [acme, other] = [await addGroup(api, "acme"), await addGroup(api, "other")];
  const owner = await addPerson(api, "owner@acme.example", [[acme, "owner"]]);
  await addPerson(api, "admin@acme.example", [[acme, "admin"]]);
  await addPerson(api, "ann@other.example", [[other, "owner"]]);
  const token = await api.login("owner@acme.example");
  const admin = await api.login("admin@acme.example");
  const ann = await api.login("ann@other.example");
  const path = `/api/v1/groups/${acme}/invitations`;
  const invite = (email: string, role = "member") => api.ask("POST", path, { token, body: { email, role } });
  const accept = (handed: string) =>
    api.ask("POST", "/api/v1/auth/accept-invitation", { token: ann, body: { token: handed } });
  const [first, second] = [
    await invite("ann@other.example", "owner"),
    await invite("Ann@other.example", "admin"),
  ];
  await invite("bob@other.example");
  const { body } = await api.ask("GET", path, { token: admin });
  assert.deepEqual(
    body.items.map((item: { email: string; role: string; created_by: string }) => [
      item.email,
      item.role,
      item.created_by,
    ]),
    [["bob@other.example", "member", owner], ["Ann@other.example", "admin", owner]],
    "the newer one for the same address stands alone",
  );
  assert.doesNotMatch(JSON.stringify(body), new RegExp(`${second.body.token}|token`));
  assert.equal((await accept(first.body.token)).status, 400);
  const one = `${path}/${second.body.id}`;
  assert.equal((await api.ask("DELETE", one, { token: admin })).status, 403);
  assert.equal((await api.ask("DELETE", one, { token: ann })).status, 404);
  assert.equal((await api.ask("DELETE", one, { token })).status, 204);
  assert.equal((await api.ask("DELETE", one, { token })).status, 404);
  assert.equal((await accept(second.body.token)).status, 400);
  const told = await api.ask("GET", `/api/v1/groups/${acme}/activity?action=admin.withdraw_invitation`, {
    token,
  });
  assert.deepEqual(told.body.map((entry: { resource_id: string }) => entry.resource_id), [second.body.id]);
  await using session = await openSession({ url: api.database.ownerUrl });
  await session.query(
    `insert into one_time_tokens (group_id, kind, email, role, token_hash, expires_at)
     select $1, 'invitation', n || '@x.example', 'member', sha256(n::text::bytea), now() + interval '1 day'
     from generate_series(1, 98) n`,
    [acme],
  );
  const answers = await Promise.all(
    ["c@x.example", "d@x.example", "e@x.example"].map((email) => invite(email)),
  );
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409]);
  const page = await api.ask("GET", `${path}?limit=60`, { token });
  const rest = await api.ask("GET", `${path}?limit=60&cursor=${page.body.next_cursor}`, { token });
  const ids = [...page.body.items, ...rest.body.items].map(({ id }: { id: string }) => id);
  assert.deepEqual([ids.length, new Set(ids).size, rest.body.next_cursor], [100, 100, null]);
});

Deno.test("who is a member already stays what he is, and the invitation stays open", async () => {
  await using api = await testApi();
  const acme = await addGroup(api, "acme");
  await addPerson(api, "owner@acme.example", [[acme, "owner"]]);
  const ann = await addPerson(api, "ann@acme.example", [[acme, "member"]]);
  const token = await api.login("owner@acme.example");
  const path = `/api/v1/groups/${acme}/invitations`;
  const made = await api.ask("POST", path, { token, body: { email: "ann@acme.example", role: "admin" } });
  const accepted = await api.ask("POST", "/api/v1/auth/accept-invitation", {
    token: await api.login("ann@acme.example"),
    body: { token: made.body.token },
  });
  assert.deepEqual([accepted.status, accepted.body.code], [409, "already_member"]);
  const members = (await api.ask("GET", `/api/v1/groups/${acme}/members`, { token })).body;
  assert.equal(members.find((one: { user_id: string }) => one.user_id === ann).role, "member");
  assert.equal((await api.ask("GET", path, { token })).body.items.length, 1);
  const told = await api.ask("GET", `/api/v1/groups/${acme}/activity?action=auth.join_group`, { token });
  assert.deepEqual(told.body, []);
});

Deno.test("a password reset holds no longer when the user has joined another group, has another role or password", async () => {
  await using api = await testApi();
  const [acme, other] = [await addGroup(api, "acme"), await addGroup(api, "other")];
  await addPerson(api, "admin@acme.example", [[acme, "admin"]]);
  await addPerson(api, "owner@acme.example", [[acme, "owner"]]);
  await addPerson(api, "owner@other.example", [[other, "owner"]]);
  const [admin, owner, foreign] = [
    await api.login("admin@acme.example"),
    await api.login("owner@acme.example"),
    await api.login("owner@other.example"),
  ];
  const offer = async (user: string) =>
    (await api.ask("POST", `/api/v1/users/${user}/password-reset`, { token: admin })).body.token;
  const reset = async (token: string) =>
    (await api.ask("POST", "/api/v1/auth/reset-password", { body: { token, "new_password": "taken over" } }))
      .status;
  const newMember = (name: string) => addPerson(api, `${name}@acme.example`, [[acme, "member"]]);

  const joiner = await newMember("joiner");
  const beforeJoining = await offer(joiner);
  const invitation = await api.ask("POST", `/api/v1/groups/${other}/invitations`, {
    token: foreign,
    body: { email: "joiner@acme.example", role: "owner" },
  });
  const joined = await api.ask("POST", "/api/v1/auth/accept-invitation", {
    token: await api.login("joiner@acme.example"),
    body: { token: invitation.body.token },
  });
  assert.equal(joined.status, 200);
  assert.equal(await reset(beforeJoining), 400, "one group would open another's door");

  const riser = await newMember("riser");
  const beforeRising = await offer(riser);
  const path = `/api/v1/groups/${acme}/members/${riser}`;
  assert.equal((await api.ask("PATCH", path, { token: owner, body: { role: "owner" } })).status, 200);
  assert.equal(await reset(beforeRising), 400, "an admin would become an owner");

  const changer = await newMember("changer");
  const beforeChange = await offer(changer);
  const own = { "current_password": testPassword, "new_password": "battery staple" };
  const changed = await api.ask("PUT", "/api/v1/auth/password", {
    token: await api.login("changer@acme.example"),
    body: own,
  });
  assert.equal(changed.status, 204);
  assert.equal(await reset(beforeChange), 400);

  const twice = await newMember("twice");
  const [one, two] = [await offer(twice), await offer(twice)];
  assert.deepEqual([await reset(one), await reset(two)], [400, 204], "the newer one stands alone");
});

Deno.test("what somebody handed over holds no longer than he may hand it over", async () => {
  await using api = await testApi();
  const [acme, other] = [await addGroup(api, "acme"), await addGroup(api, "other")];
  await addPerson(api, "owner@acme.example", [[acme, "owner"]]);
  await addPerson(api, "ann@other.example", [[other, "owner"]]);
  const owner = await api.login("owner@acme.example");
  const ann = await api.login("ann@other.example");
  const path = `/api/v1/groups/${acme}/invitations`;
  const ends: readonly (readonly [string, (user: string) => Promise<unknown>])[] = [
    [
      "demoted",
      (user) =>
        api.ask("PATCH", `/api/v1/groups/${acme}/members/${user}`, {
          token: owner,
          body: { role: "member" },
        }),
    ],
    ["removed", (user) => api.ask("DELETE", `/api/v1/groups/${acme}/members/${user}`, { token: owner })],
    [
      "suspended",
      (user) =>
        api.ask("PATCH", `/api/v1/users/${user}/status`, { token: owner, body: { status: "suspended" } }),
    ],
    ["deleted", (user) => api.ask("DELETE", `/api/v1/users/${user}`, { token: owner })],
  ];
  for (const [name, end] of ends) {
    const user = await addPerson(api, `${name}@acme.example`, [[acme, "owner"]]);
    const made = await api.ask("POST", path, {
      token: await api.login(`${name}@acme.example`),
      body: { email: "ann@other.example", role: "owner" },
    });
    assert.equal(made.status, 201);
    await end(user);
    const accepted = await api.ask("POST", "/api/v1/auth/accept-invitation", {
      token: ann,
      body: { token: made.body.token },
    });
    assert.equal(accepted.status, 400, name);
  }
});
