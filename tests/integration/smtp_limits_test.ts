import assert from "node:assert/strict";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import { HeldClock } from "../support/held_clock.ts";
import { greeted, openStage, turn, Wire } from "../support/smtp_wire.ts";

const certificate = await selfSignedCertificate(new Date());

Deno.test("a trickle of command bytes does not keep a session from idling out", async () => {
  await using stage = await openStage({ limits: { idleMs: 80 } });
  using clock = new HeldClock();
  await using wire = await greeted(stage);
  const timer = setInterval(() => wire.socket.write("N"), 10);
  await clock.pass(200);
  clearInterval(timer);
  assert.match(await wire.reply(), /^421 4\.4\.2/);
  await wire.ended();
});

Deno.test("a trickle of message bytes is cut, silence in DATA too, and memory comes back", async () => {
  for (const isTrickling of [true, false]) {
    const limits = isTrickling ? { dataMs: 100, minBytesPerSecond: 100_000 } : { idleMs: 80 };
    await using stage = await openStage({ limits });
    using clock = new HeldClock();
    await using wire = await stage.login();
    await wire.ask("MAIL FROM:<a@example.com>");
    await wire.ask("RCPT TO:<b@x.test>");
    assert.match(await wire.ask("DATA"), /^354/);
    const timer = setInterval(() => isTrickling && wire.socket.write("x"), 5);
    await clock.pass(250);
    clearInterval(timer);
    assert.match(await wire.reply(), /^421 4\.4\.2/);
    while (stage.intake.reserved > 0) await turn();
  }
});

Deno.test("a client that never reads its replies is bounded and then cut", async () => {
  await using stage = await openStage({ limits: { writeMs: 300, maxCommands: 10_000_000 } });
  await using wire = await greeted(stage);
  wire.socket.pause();
  const flood = "HELP\r\n".repeat(10_000);
  let isOver = false;
  const over = new Promise<void>((resolve) => wire.socket.once("close", resolve)).then(() => isOver = true);
  for (let sent = 0; sent < 300 && !isOver; sent++) await Promise.race([wire.send(flood), over]);
  while (stage.listener.connections > 0) await turn();
});

Deno.test("stopping tells idle clients, lets a transaction finish, and takes nobody new", async () => {
  await using stage = await openStage();
  await using idle = await stage.login();
  await using busy = await stage.login();
  await busy.ask("MAIL FROM:<a@example.com>");
  const closed = stage.listener.close(60_000);
  assert.match(await idle.reply(), /^421 4\.3\.2/);
  await idle.ended();
  await assert.rejects(Wire.open(stage.port));
  assert.match(await busy.ask("RCPT TO:<b@x.test>"), /^250/);
  assert.match(await busy.ask("DATA"), /^354/);
  assert.match(await busy.ask("From: a@example.com\r\n\r\nx\r\n."), /^250/);
  assert.match(await busy.reply(), /^421 4\.3\.2/);
  await closed;
  assert.equal(stage.intake.taken.length, 1);
});

Deno.test("stopping tells a client in the midst of its TLS handshake 421 when that is over", async () => {
  for (const tls of ["starttls", "implicit"] as const) {
    await using stage = await openStage({ tls, certificate });
    await using wire = await Wire.open(stage.port);
    if (tls === "starttls") {
      await wire.reply();
      await wire.ask("EHLO client.test");
      assert.match(await wire.ask("STARTTLS"), /^220/);
    }
    while (stage.listener.connections === 0) await turn();
    const closed = stage.listener.close(60_000);
    await turn(); // It has been told to stop, and the handshake begins only now.
    await wire.startTls();
    if (tls === "implicit") assert.match(await wire.reply(), /^220/);
    assert.match(await wire.reply(), /^421 4\.3\.2/);
    await wire.ended();
    await wire[Symbol.asyncDispose]();
    await closed;
  }
});

Deno.test("whoever comes while a port is about to be closed is told 421", async () => {
  // The port is closed in no time, so none may pass until the client has come.
  await using stage = await openStage();
  using clock = new HeldClock();
  const closed = stage.listener.close(60_000);
  await using late = await Wire.open(stage.port);
  while (stage.listener.connections === 0) await turn();
  await clock.pass(1000);
  assert.match(await late.reply(), /^220/);
  assert.match(await late.reply(), /^421 4\.3\.2/);
  await late.ended();
  await late[Symbol.asyncDispose]();
  await closed;
});

Deno.test("stopping ends what is left at its limit", async () => {
  await using stage = await openStage();
  await using wire = await stage.login();
  await wire.ask("MAIL FROM:<a@example.com>");
  await wire.ask("RCPT TO:<b@x.test>");
  await wire.ask("DATA");
  await stage.listener.close(50);
  await wire.ended();
  assert.equal(stage.intake.reserved, 0);
});

Deno.test("stopping waits no longer than its limit for a message that is being accepted", async () => {
  await using stage = await openStage();
  const [asked, never] = [Promise.withResolvers<void>(), Promise.withResolvers<never>()];
  stage.intake.accept = () => {
    asked.resolve();
    return never.promise;
  };
  await using wire = await stage.login();
  await wire.ask("MAIL FROM:<a@example.com>");
  await wire.ask("RCPT TO:<b@x.test>");
  await wire.ask("DATA");
  await wire.send("From: a@example.com\r\n\r\nx\r\n.\r\n");
  await asked.promise;
  await stage.listener.close(50);
  assert.equal(stage.listener.connections, 0);
});

Deno.test("a client whom our own store keeps waiting is not cut for idling", async () => {
  await using stage = await openStage({ limits: { idleMs: 60, dataMs: 60 } });
  using clock = new HeldClock();
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => release = resolve);
  const held = Promise.withResolvers<void>();
  stage.intake.onWrite = () => {
    held.resolve();
    return gate;
  };
  await using wire = await stage.login();
  await wire.ask("MAIL FROM:<a@example.com>");
  await wire.ask("RCPT TO:<b@x.test>");
  await wire.ask("DATA");
  await wire.send(`From: a@example.com\r\n\r\n${"x".repeat(10_000)}`);
  await held.promise;
  // In steps, so that the listener looks at the clock several times.
  for (let step = 0; step < 10; step++) await clock.pass(60);
  assert.equal(wire.hasEnded, false);
  release();
  await wire.send("\r\n.\r\n");
  assert.match(await wire.reply(), /^250/);
});
