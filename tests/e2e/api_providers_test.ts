import assert from "node:assert/strict";
import { SmtpSink } from "../support/smtp_sink.ts";
import { withServices } from "../support/spawn_services.ts";

Deno.test("api-server tests providers, and hears of reports, with the permissions of its task", async () => {
  await using sink = await SmtpSink.open();
  await withServices({ start: ["apiServer"] }, async ({ apiPort }) => {
    const ask = async (path: string, body: unknown, token?: string) => {
      const response = await fetch(`http://127.0.0.1:${apiPort}/api/v1${path}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: await response.json() };
    };
    const token =
      (await ask("/auth/login", { email: "admin@localhost", password: "admin" })).body["access_token"];
    const config = { host: "127.0.0.1", port: sink.port, tls: "none" };
    const relay = await ask(
      "/providers",
      { name: "sink", "provider_type": "smtp", "smtp_config": config },
      token,
    );
    assert.equal(relay.status, 201, JSON.stringify(relay.body));
    const mail = { "test_message": { from: "a@here.example", to: "b@there.example" } };
    const tested = await ask(`/providers/${relay.body.id}/test`, mail, token);
    assert.equal(tested.body.works, true, JSON.stringify(tested.body));
    assert.equal(sink.mails.length, 1);
    for (const credentials of ["environment", "web_identity"]) {
      const settings = { region: "eu-west-1", credentials, endpoint: `http://127.0.0.1:${sink.port}` };
      const ses = await ask(
        "/providers",
        { name: "s", "provider_type": "ses", "smtp_config": settings },
        token,
      );
      assert.equal(ses.body.operator_credentials, true, JSON.stringify(ses.body));
      const broken = await ask(`/providers/${ses.body.id}/test`, {}, token);
      assert.deepEqual([broken.status, broken.body.works], [200, false]);
      assert.doesNotMatch(JSON.stringify(broken.body.faults), /NotCapable|Requires \w+ access/);
    }
    assert.equal((await ask("/webhooks/sendgrid", [])).status, 401);
  });
});
