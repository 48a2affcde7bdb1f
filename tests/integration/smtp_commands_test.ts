import assert from "node:assert/strict";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import { deliver, greeted, openStage } from "../support/smtp_wire.ts";

Deno.test("what nobody understands counts as an error since the last accepted message, and not beyond", async () => {
  await using stage = await openStage();
  await using wire = await stage.login();
  for (let time = 0; time < 12; time++) {
    assert.match(await wire.ask("FOO"), /^500 5\.5\.1/);
    assert.match(await deliver(wire), /^250 2\.0\.0/);
  }
});

Deno.test("blanks behind DATA are no arguments, as behind every other command", async () => {
  await using stage = await openStage();
  await using wire = await stage.login();
  await wire.ask("MAIL FROM:<a@example.com>");
  await wire.ask("RCPT TO:<b@example.net>");
  assert.match(await wire.ask("DATA now"), /^501 5\.5\.4/);
  assert.match(await wire.ask("DATA  "), /^354/);
});

Deno.test("a response to AUTH is no command, whatever it reads like", async () => {
  await using stage = await openStage();
  await using wire = await greeted(stage);
  await wire.ask("EHLO x");
  // In base64 the first is RCpt.
  for (const password of ["D*m", "D*l"]) {
    await wire.ask("AUTH LOGIN");
    await wire.ask("dXNlcg==");
    assert.match(await wire.ask(new TextEncoder().encode(password).toBase64()), /^535 5\.7\.8/);
  }
  assert.match(await wire.ask("AUTH PLAIN"), /^334/);
  assert.match(await wire.ask("DATA"), /^501 5\.5\.2/);
  assert.deepEqual(stage.gate.tried.map(({ password }) => password), ["D*m", "D*l"]);
});

Deno.test("who sends mail before TLS is told to begin it, where AUTH is not offered before", async () => {
  const certificate = await selfSignedCertificate(new Date(), "host.test");
  await using stage = await openStage({ tls: "starttls", certificate });
  await using wire = await greeted(stage);
  await wire.ask("EHLO x");
  assert.match(
    await wire.ask("MAIL FROM:<a@example.com>"),
    /^530 5\.7\.0 Must issue a STARTTLS command first/,
  );
  await using open = await openStage();
  await using plain = await greeted(open);
  await plain.ask("EHLO x");
  assert.match(await plain.ask("MAIL FROM:<a@example.com>"), /^530 5\.7\.0 Authentication required/);
});
