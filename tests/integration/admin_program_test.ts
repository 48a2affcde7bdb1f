import assert from "node:assert/strict";
import { addGroup, addPerson, testApi } from "../support/api.ts";
import { runProgram } from "../support/run_program.ts";

Deno.test("admin reset-password gives a new password, shown once, and ends the sessions", async () => {
  await using api = await testApi();
  const system = await addGroup(api, "system", "system");
  await addPerson(api, "root@operator.example", [[system, "owner"]]);
  const token = await api.login("root@operator.example");
  const variables = {
    SMTP_PROXY_DATABASE_URL: api.database.urlFor("smtp_proxy_admin"),
    SMTP_PROXY_ENVIRONMENT: "development",
  };
  const ran = await runProgram("admin", ["reset-password", "--email", "ROOT@operator.example"], variables);
  assert.equal(ran.code, 0, ran.stderr);
  const password = /is now: (\S{24})\n$/.exec(ran.stdout)?.[1];
  assert.equal((await api.ask("GET", "/api/v1/auth/me", { token })).status, 401);
  await assert.rejects(api.login("root@operator.example"));
  const body = { email: "root@operator.example", password };
  const login = await api.ask("POST", "/api/v1/auth/login", { body });
  assert.equal(login.status, 200);
  const path = `/api/v1/groups/${system}/activity?action=admin.reset_password`;
  const told = await api.ask("GET", path, { token: login.body.access_token });
  assert.deepEqual([told.body.length, told.body[0].actor_id], [1, undefined]);

  const nobody = await runProgram("admin", ["reset-password", "--email", "x@operator.example"], variables);
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /nobody has the address/);
});
