import assert from "node:assert/strict";
import { parseCidr } from "../../lib/network/cidr.ts";
import { Refusal } from "../../lib/refusal.ts";
import { createHash, X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { connect as connectTls } from "node:tls";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import { openListener } from "../../services/smtp-server/listener.ts";
import { freePort } from "../support/ports.ts";
import { deliver, greeted, openStage, plainToken, turn, Wire } from "../support/smtp_wire.ts";

const certificate = await selfSignedCertificate(new Date(), "host.test");
const token = plainToken("user", "secret");
const login = `AUTH PLAIN ${token}`;

Deno.test("EHLO advertises AUTH only where it may be used", async () => {
  await using open = await openStage();
  await using first = await greeted(open);
  const bare = await first.ask("EHLO x");
  assert.match(bare, /AUTH PLAIN LOGIN/);
  assert.doesNotMatch(bare, /STARTTLS/);
  await using guarded = await openStage({ tls: "starttls", certificate });
  await using second = await greeted(guarded);
  const before = await second.ask("EHLO x");
  assert.doesNotMatch(before, /AUTH/);
  assert.match(before, /STARTTLS/);
  await second.ask("STARTTLS");
  await second.startTls();
  const after = await second.ask("EHLO x");
  assert.match(after, /AUTH PLAIN LOGIN/);
  assert.doesNotMatch(after, /STARTTLS/);
  for (const word of ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "SIZE 26214400"]) {
    assert.ok(after.includes(word), word);
  }
});

Deno.test("implicit TLS takes mail from the first byte on", async () => {
  await using stage = await openStage({ tls: "implicit", certificate });
  await using wire = await stage.login();
  assert.match(await deliver(wire), /^250 2\.0\.0/);
  const { client } = stage.intake.taken[0]?.submission ?? assert.fail();
  assert.match(client.tls ?? "", /^TLSv1\.3 TLS_/);
});

Deno.test("TLS 1.2 and 1.3 are spoken, with the certificate we were given", async () => {
  await using stage = await openStage({ tls: "implicit", certificate });
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    const socket: TLSSocket = connectTls({
      port: stage.port,
      host: "127.0.0.1",
      servername: "localhost",
      ca: certificate.cert,
      minVersion: version,
      maxVersion: version,
    });
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
    });
    assert.equal(socket.getProtocol(), version);
    const shown = socket.getPeerCertificate().fingerprint256;
    assert.equal(shown, new X509Certificate(certificate.cert).fingerprint256);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.destroy();
    await closed;
  }
});

Deno.test("selfSignedCertificate() is ECDSA P-256 for all the names we go by, for a year", async () => {
  const made = await selfSignedCertificate(new Date("2030-01-01T00:00:00Z"), "host.test");
  const shown = new X509Certificate(made.cert);
  const { publicKey } = shown;
  assert.equal(publicKey.asymmetricKeyType, "ec");
  assert.equal(publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1");
  assert.deepEqual(shown.subjectAltName?.split(", ").map((name) => name.replace(/^.*?:/, "")), [
    "localhost",
    "smtp-server",
    "api-server",
    "host.test",
    "127.0.0.1",
    "::1",
  ]);
  const dates = [shown.validFrom, shown.validTo].map((text) => new Date(text).toISOString());
  assert.deepEqual(dates, ["2029-12-31T23:00:00.000Z", "2031-01-01T00:00:00.000Z"]);
  assert.equal(shown.ca, false);
  assert.match(made.key, /^-----BEGIN PRIVATE KEY-----\n/);
});

Deno.test("openListener() refuses to speak TLS without a certificate of its own", async () => {
  await assert.rejects(openStage({ tls: "starttls" }), /no certificate/);
});

Deno.test("openListener() rejects when a port is taken, and keeps none open", async () => {
  await using stage = await openStage();
  const free = freePort();
  const options = {
    ports: [free, stage.port].map((port) => ({ host: "127.0.0.1", port, tls: "none" as const })),
  };
  await assert.rejects(
    openStage().then(async (other) => {
      await using _ = other;
      return await openListener({ ...other.options, ...options });
    }),
    /in use|EADDRINUSE/,
  );
  Deno.listen({ hostname: "127.0.0.1", port: free }).close();
});

Deno.test("STARTTLS drops what was injected in clear before the handshake", async () => {
  await using stage = await openStage({ tls: "starttls", certificate });
  await using wire = await greeted(stage);
  await wire.ask("EHLO x");
  await wire.send("STARTTLS\r\nNOOP\r\nMAIL FROM:<evil@example.com>\r\n");
  assert.match(await wire.reply(), /^220 2\.0\.0/);
  await wire.startTls();
  assert.match(await wire.ask("EHLO y"), /^250-mx\.test/);
  assert.equal(wire.pendingText, "");
  assert.match(await wire.ask("MAIL FROM:<a@example.com>"), /^530/);
});

Deno.test("STARTTLS forgets the EHLO and can be said once", async () => {
  await using stage = await openStage({ tls: "starttls", certificate });
  await using wire = await greeted(stage);
  await wire.ask("EHLO x");
  await wire.ask("STARTTLS");
  await wire.startTls();
  assert.match(await wire.ask(login), /^503 5\.5\.1/);
  await wire.ask("EHLO x");
  assert.match(await wire.ask("STARTTLS"), /^503 5\.5\.1/);
  assert.match(await wire.ask(login), /^235 2\.7\.0/);
});

Deno.test("STARTTLS answered with no handshake ends at the handshake's limit", async () => {
  await using stage = await openStage({ tls: "starttls", certificate, limits: { handshakeMs: 60 } });
  await using wire = await greeted(stage);
  await wire.ask("EHLO x");
  await wire.ask("STARTTLS");
  await wire.ended();
  while (stage.listener.connections > 0) await turn();
});

Deno.test("STARTTLS answered with garbage harms nobody", async () => {
  await using stage = await openStage({ tls: "starttls", certificate });
  await using wire = await greeted(stage);
  await wire.ask("EHLO x");
  await wire.ask("STARTTLS");
  await wire.send("this is no ClientHello\r\n");
  await wire.ended();
  while (stage.listener.connections > 0) await turn();
  await using other = await stage.login();
  assert.match(await deliver(other), /^250/);
});

Deno.test("a connection to the implicit port that never says a word ends at the handshake's limit", async () => {
  await using stage = await openStage({ tls: "implicit", certificate, limits: { handshakeMs: 60 } });
  await using wire = await Wire.open(stage.port);
  await wire.ended();
  while (stage.listener.connections > 0) await turn();
});

Deno.test("AUTH works in all its forms", async () => {
  const user = "dXNlcg==";
  const secret = "c2VjcmV0";
  const forms: readonly (readonly string[])[] = [
    [login],
    [`auth plain ${token}`],
    ["AUTH PLAIN", token],
    ["AUTH LOGIN", user, secret],
    [`AUTH LOGIN ${user}`, secret],
  ];
  await using stage = await openStage();
  for (const form of forms) {
    await using wire = await greeted(stage);
    await wire.ask("EHLO x");
    let reply = "";
    for (const line of form) reply = await wire.ask(line);
    assert.match(reply, /^235 2\.7\.0/, form.join(" "));
    assert.match(await deliver(wire), /^250/);
  }
  const right = { username: "user", password: "secret", address: "127.0.0.1" };
  assert.deepEqual(stage.gate.tried, forms.map(() => right));
  const sessions = stage.intake.taken.map(({ submission }) => submission.correlationId);
  assert.equal(new Set(sessions).size, forms.length, "each session has an id of its own");
});

Deno.test("AUTH that fails three times ends the connection", async () => {
  await using stage = await openStage();
  await using wire = await greeted(stage);
  await wire.ask("EHLO x");
  const wrong = `AUTH PLAIN ${plainToken("user", "wrong")}`;
  for (let time = 0; time < 3; time++) assert.match(await wire.ask(wrong), /^535 5\.7\.8/);
  assert.match(await wire.reply(), /^421 4\.7\.0/);
  await wire.ended();
  assert.deepEqual(stage.gate.tried.map(({ password }) => password), ["wrong", "wrong", "wrong"]);
  assert.equal(stage.watcher.events.filter((event) => event === "login failure").length, 3);
});

Deno.test("AUTH for somebody else is refused with the right password, too", async () => {
  await using stage = await openStage();
  await using wire = await greeted(stage);
  await wire.ask("EHLO x");
  const acting = new TextEncoder().encode("other\0user\0secret").toBase64();
  assert.match(await wire.ask(`AUTH PLAIN ${acting}`), /^535 5\.7\.8 .*themselves/);
  assert.match(await wire.ask("MAIL FROM:<a@x.test>"), /^530 5\.7\.0/);
  assert.match(await wire.ask(login), /^235 /);
});

Deno.test("pipelined commands are answered in one piece, and in order", async () => {
  await using stage = await openStage();
  await using wire = await stage.login();
  let pieces = 0;
  wire.socket.on("data", () => pieces++);
  await wire.send(
    "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<nobody>\r\nRCPT TO:<c@x.test>\r\nDATA\r\n",
  );
  const codes: string[] = [];
  for (let count = 0; count < 5; count++) codes.push((await wire.reply()).slice(0, 3));
  assert.deepEqual(codes, ["250", "250", "501", "250", "354"]);
  assert.equal(pieces, 1);
  const next =
    "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nFrom: a@example.com\r\n\r\ntwo\r\n.\r\nQUIT\r\n";
  await wire.send(`From: a@example.com\r\n\r\none\r\n.\r\n${next}`);
  codes.length = 0;
  for (let count = 0; count < 6; count++) codes.push((await wire.reply()).slice(0, 3));
  assert.deepEqual(codes, ["250", "250", "250", "354", "250", "221"]);
  const [one, two] = stage.intake.taken;
  assert.ok(one && two && stage.intake.taken.length === 2);
  assert.deepEqual(one.submission.recipients, [{ address: "b@x.test" }, { address: "c@x.test" }]);
  assert.deepEqual(two.submission.recipients, [{ address: "b@x.test" }]);
  assert.equal(one.submission.correlationId, two.submission.correlationId);
});

Deno.test("a transaction carries its parameters to the submission", async () => {
  await using stage = await openStage();
  await using wire = await stage.login();
  await wire.ask("MAIL FROM:<\xc3\xa4@example.com> BODY=8BITMIME SMTPUTF8 SIZE=1000 RET=HDRS ENVID=e+2B1");
  await wire.ask("RCPT TO:<b@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@example.org");
  await wire.ask('RCPT TO:<"quoted name"@example.org>');
  await wire.ask("RCPT TO:<b@example.org> NOTIFY=NEVER");
  await wire.ask("DATA");
  const content = "From: A <a@example.com>\r\nSubject: =?utf-8?q?=C3=A4?=\r\nMessage-ID: <1@x>\r\n\r\n";
  await wire.ask(`${content}.`);
  const { submission, bytes } = stage.intake.taken[0] ?? assert.fail();
  const { id, body: _body, contentHash, correlationId, ...rest } = submission;
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  assert.equal(contentHash.toHex(), createHash("sha256").update(content).digest("hex"));
  assert.match(new TextDecoder().decode(bytes), /^Received: /);
  assert.ok(new TextDecoder().decode(bytes).endsWith(content));
  assert.match(correlationId, /^[0-9A-Za-z_-]{9,128}$/);
  assert.deepEqual(rest, {
    group: "g1",
    user: "u1",
    mailFrom: "ä@example.com",
    recipients: [
      { address: "b@example.org", notify: "SUCCESS,DELAY", originalRecipient: "rfc822;b@example.org" },
      { address: '"quoted name"@example.org' },
    ],
    headers: { subject: "ä", from: "a@example.com", messageId: "<1@x>" },
    client: { address: "127.0.0.1", helo: "client.test" },
    eightBit: true,
    smtpUtf8: true,
    dsnReturn: "HDRS",
    envelopeId: "e+2B1",
  });
});

Deno.test("the sender's domain and every address of From must be allowed, the null sender is", async () => {
  await using stage = await openStage();
  stage.gate.policy = stage.gate.policy &&
    { ...stage.gate.policy, allowedDomains: ["example.com", "*.example.net"] };
  await using wire = await stage.login();
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ["", "a@example.com", /^250/],
    ["", "a@other.test", /^550 5\.7\.1 From domain not allowed: "other\.test"/],
    ["a@EXAMPLE.com", "a@Sub.Example.Net", /^250/],
    ["a@example.com", "a@example.com, b@other.test", /^550 5\.7\.1/],
    ["a@example.com", '"a@example.com" <b@other.test>', /^550 5\.7\.1/],
    ["a@example.com", "a@example.net", /^550 5\.7\.1/],
  ];
  for (const [sender, from, expected] of cases) {
    await wire.ask(`MAIL FROM:<${sender}>`);
    await wire.ask("RCPT TO:<b@example.org>");
    await wire.ask("DATA");
    assert.match(await wire.ask(`From: ${from}\r\n\r\nx\r\n.`), expected, from);
  }
});

Deno.test("a change of the account counts at its next message", async () => {
  await using stage = await openStage();
  await using wire = await stage.login();
  assert.match(await deliver(wire), /^250/);
  const before = stage.gate.policy ?? assert.fail();
  stage.gate.policy = { ...before, allowedDomains: ["other.test"] };
  assert.match(await wire.ask("MAIL FROM:<a@example.com>"), /^550 5\.7\.1 Sender domain.*other\.test/);
  stage.gate.policy = { ...before, isSuspended: true };
  assert.match(await wire.ask("MAIL FROM:<a@example.com>"), /^550 5\.7\.1/);
  stage.gate.policy = { ...before, revision: "2" };
  assert.match(await wire.ask("MAIL FROM:<a@example.com>"), /^421/);
  await wire.ended();
  assert.equal(stage.gate.forgotten.length, 2);
});

Deno.test("a reached quota is told at MAIL, after what is wrong with the account itself", async () => {
  await using stage = await openStage();
  const { policy } = stage.gate;
  assert.ok(policy);
  const spent = { ...policy, quotaReached: new Refusal("quota_reached", "Monthly limit reached") };
  await using wire = await stage.login();
  stage.gate.policy = spent;
  assert.match(await wire.ask("MAIL FROM:<a@example.com>"), /^452 4\.7\.1/);
  stage.gate.policy = { ...spent, isSuspended: true };
  assert.match(await wire.ask("MAIL FROM:<a@example.com>"), /^550 5\.7\.1/);
  stage.gate.policy = { ...spent, revision: "2" };
  assert.match(await wire.ask("MAIL FROM:<a@example.com>"), /^421/);
});

Deno.test("a message that was taken is logged under the id that was answered", async () => {
  await using stage = await openStage();
  await using wire = await stage.login();
  for (const line of ["MAIL FROM:<a@example.com>", "RCPT TO:<b@x.test>", "DATA"]) await wire.ask(line);
  const id = (await wire.ask("From: a@example.com\r\n\r\nx\r\n.")).trim().split(" ").at(-1);
  assert.deepEqual(stage.watcher.infos, [
    ["message accepted", { messageId: id, group: "g1", user: "u1", size: 26 }],
  ]);
});

Deno.test("a network that is allowed no more counts at the next message of those who are logged in", async () => {
  await using stage = await openStage();
  const { policy } = stage.gate;
  const [here, elsewhere] = [parseCidr("127.0.0.0/8"), parseCidr("192.0.2.0/24")];
  assert.ok(policy && here && elsewhere);
  await using wire = await stage.login();
  stage.gate.policy = { ...policy, allowedNetworks: [here] };
  assert.match(await wire.ask("MAIL FROM:<a@example.com>"), /^250/);
  await wire.ask("RSET");
  stage.gate.policy = { ...policy, allowedNetworks: [elsewhere] };
  assert.match(await wire.ask("MAIL FROM:<a@example.com>"), /^421/);
  assert.equal(stage.gate.forgotten.length, 1);
});

Deno.test("clients come over IPv6 too", async () => {
  await using stage = await openStage({ host: "::1" });
  await using wire = await Wire.open(stage.port, "::1");
  await wire.reply();
  await wire.ask("EHLO x");
  await wire.ask(login);
  assert.match(await deliver(wire), /^250/);
  assert.equal(stage.intake.taken[0]?.submission.client.address, "::1");
});

Deno.test("a client that closes its side still gets its replies", async () => {
  await using stage = await openStage();
  await using wire = await Wire.open(stage.port);
  wire.socket.end(
    `EHLO x\r\n${login}\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n` +
      "From: a@example.com\r\n\r\nx\r\n.\r\nNOOP\r\n",
  );
  const codes: string[] = [];
  for (let reply = await wire.reply(); reply !== "closed"; reply = await wire.reply()) {
    codes.push(reply.slice(0, 3));
  }
  assert.deepEqual(codes, ["220", "250", "235", "250", "250", "354", "250", "250"]);
});

Deno.test("useCertificate() changes the certificate of new sessions", async () => {
  await using stage = await openStage({ tls: "implicit", certificate });
  const next = await selfSignedCertificate(new Date(), "next.test");
  stage.listener.useCertificate(next);
  await using wire = await Wire.openTls(stage.port);
  const shown = (wire.socket as TLSSocket).getPeerCertificate();
  assert.match(shown.subjectaltname ?? "", /next\.test/);
});

Deno.test("every session that was opened is closed, and every socket is off the count", async () => {
  await using stage = await openStage();
  for (let round = 0; round < 20; round++) {
    await using wire = await greeted(stage);
    if (round % 2 === 0) await wire.ask("QUIT");
  }
  while (stage.listener.connections > 0) await turn();
  const count = (event: string) => stage.watcher.events.filter((one) => one === event).length;
  assert.equal(count("opened"), 20);
  assert.equal(count("closed"), 20);
});
