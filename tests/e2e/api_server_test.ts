import assert from "node:assert/strict";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";

interface Told {
  readonly status: number;
  readonly body: Record<string, string>;
}

async function ask(
  system: TestSystem,
  method: string,
  path: string,
  token?: string,
  body?: unknown,
): Promise<Told> {
  const response = await fetch(`http://127.0.0.1:${system.apiPort}${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? {} : JSON.parse(text) };
}

function login(system: TestSystem, email: string, password: string): Promise<Told> {
  return ask(system, "POST", "/api/v1/auth/login", undefined, { email, password });
}

Deno.test("api-server serves the documented calls with the permissions of its task", async () => {
  await withServices({ start: ["apiServer"] }, async (system) => {
    const first = await login(system, "admin@localhost", "admin");
    assert.equal(first.status, 200);
    const token = first.body["access_token"] ?? "";
    const group = await ask(system, "POST", "/api/v1/groups", token, { name: "acme" });
    assert.equal(group.status, 201);
    // "U*U" with cost 5, as published with crypt_blowfish: verified by a thread that has to be allowed.
    await rowsOf(
      system,
      `with u as (insert into users (email, password_hash)
         values ('old@acme.example', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW') returning id)
       insert into group_members (group_id, user_id, account_type, role)
       select '${group.body["id"]}', id, 'human', 'owner' from u`,
    );
    const old = await login(system, "old@acme.example", "U*U");
    assert.equal(old.status, 200, JSON.stringify(old.body));

    await system.postgres.kill();
    const down = await ask(system, "GET", "/api/v1/auth/me", token);
    assert.deepEqual([down.status, down.body["code"]], [503, "database_down"]);
    await system.postgres.restart();
    const back = await ask(system, "GET", "/api/v1/auth/me", token);
    assert.equal(back.status, 200, JSON.stringify(back.body));
  });
});

Deno.test("the first administrator is created once: whoever changed address and password keeps them", async () => {
  await withServices({ start: ["apiServer"] }, async (system) => {
    const { body } = await login(system, "admin@localhost", "admin");
    const token = body["access_token"];
    const change = { "current_password": "admin", "new_password": "not the default" };
    assert.equal((await ask(system, "PUT", "/api/v1/auth/password", token, change)).status, 204);
    await rowsOf(system, "update users set email = 'root@operator.example' where account_type = 'human'");
    await system.apiServer.stop();
    await system.apiServer.start();
    assert.equal((await login(system, "admin@localhost", "admin")).status, 401);
    assert.equal((await login(system, "root@operator.example", "not the default")).status, 200);
    const people = await rowsOf(system, "select email from users where account_type = 'human'");
    assert.deepEqual(people, [{ email: "root@operator.example" }]);
  });
});
