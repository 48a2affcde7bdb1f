import assert from "node:assert/strict";
import { addGroup, addPerson, type TestApi, testApi } from "../support/api.ts";
import { FakeSendgrid } from "../support/fake_sendgrid.ts";
import { asSuperuser } from "../support/webhook_scene.ts";

const providers = "/api/v1/providers";

async function ownerOf(api: TestApi, name: string) {
  const group = await addGroup(api, name);
  await addPerson(api, `owner@${name}.example`, [[group, "owner"]]);
  return { group, token: await api.login(`owner@${name}.example`) };
}

Deno.test("a test proves the credentials, tells domains and sends a message from a domain of the group's", async () => {
  await using service = await FakeSendgrid.open();
  service.domains = [{ domain: "alpha.example", valid: true }];
  await using api = await testApi({ allowedEndpoints: [service.http.origin] });
  const { group, token } = await ownerOf(api, "alpha");
  const body = {
    name: "a",
    "provider_type": "sendgrid",
    "api_key": service.key,
    "smtp_config": { endpoint: service.http.origin },
  };
  const { id } = (await api.ask("POST", providers, { token, body })).body;
  const check = (given: object = {}) => api.ask("POST", `${providers}/${id}/test`, { token, body: given });
  assert.deepEqual((await check()).body, {
    works: true,
    faults: [],
    "verified_domains": ["alpha.example"],
    "test_message": null,
  });
  assert.equal(service.mails.length, 0);
  assert.equal(
    (await api.ask("POST", `${providers}/${id}/test`, { token })).body.works,
    true,
    "without a body",
  );
  const mail = { from: "a@alpha.example", to: "b@there.example" };
  const sent = (await check({ "test_message": mail })).body;
  assert.deepEqual([sent.works, sent.test_message.accepted], [true, true]);
  assert.deepEqual(service.mails.map(({ to }) => to.map(({ email }) => email)), [["b@there.example"]]);
  await asSuperuser(api, `update groups set allowed_domains = '["beta.example"]' where id = $1`, [group]);
  const foreign = await check({ "test_message": mail });
  assert.deepEqual([foreign.status, foreign.body.field], [400, "test_message.from"]);
  await api.ask("PUT", `${providers}/${id}`, { token, body: { ...body, "api_key": "SG.wrong" } });
  const broken = (await check()).body;
  assert.equal(broken.works, false);
  assert.equal(typeof broken.faults[0].code, "string");
  assert.doesNotMatch(JSON.stringify(broken), /SG\.wrong/);
  assert.deepEqual(api.faults, []);
});

Deno.test("a group sends twenty test messages an hour, however many ask at once", async () => {
  await using api = await testApi();
  const { group, token } = await ownerOf(api, "alpha");
  const body = { name: "a", "provider_type": "simulator" };
  const { id } = (await api.ask("POST", providers, { token, body })).body;
  const mail = { "test_message": { from: "a@alpha.example", to: "b@there.example" } };
  const send = () => api.ask("POST", `${providers}/${id}/test`, { token, body: mail });
  for (let n = 0; n < 17; n++) assert.equal((await send()).status, 200);
  const last = await Promise.all(Array.from({ length: 6 }, send));
  assert.deepEqual(last.map(({ status }) => status).sort(), [200, 200, 200, 429, 429, 429]);
  assert.equal(
    (await api.ask("POST", `${providers}/${id}/test`, { token, body: {} })).status,
    200,
    "proving",
  );
  await asSuperuser(api, "delete from activity_logs where group_id = $1 and action = 'provider.test'", [
    group,
  ]);
  assert.equal((await send()).status, 200, "an hour later");
  assert.deepEqual(api.faults, []);
});

Deno.test("a test that gets no answer ends in time", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of listener) open.push(connection);
  })();
  const config = { host: "127.0.0.1", port: (listener.addr as Deno.NetAddr).port, tls: "none" };
  await using api = await testApi({ testTimeoutMs: 300 });
  const { token } = await ownerOf(api, "alpha");
  const body = { name: "a", "provider_type": "smtp", "smtp_config": config };
  const { id } = (await api.ask("POST", providers, { token, body })).body;
  const answer = await api.ask("POST", `${providers}/${id}/test`, { token, body: {} });
  assert.deepEqual([answer.status, answer.body.works], [200, false]);
  listener.close();
  await accepting;
  for (const connection of open) connection.close();
});
