import assert from "node:assert/strict";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import type { TlsMode } from "../../services/smtp-server/listener_options.ts";
import { openStage, type Stage, type Wire } from "../support/smtp_wire.ts";

const piece = new Uint8Array(65_536).fill(120);
const total = 64 << 20;
/** More than the kernel keeps for a connection on its two sides. */
const mostUnread = 24 << 20;
const certificate = await selfSignedCertificate(new Date(), "host.test");
const modes: readonly TlsMode[] = ["none", "starttls", "implicit"];

async function openHeld(tls: TlsMode): Promise<Stage> {
  const stage = await openStage({ tls, certificate, rules: { maxMessageSize: 2 * total } });
  stage.intake.isDiscarding = true;
  return stage;
}

/** Sends until nothing more goes out, or everything has gone; answers how many bytes the client has got rid of. */
async function pourUntilStuck(wire: Wire): Promise<number> {
  for (let sent = 0; sent < total; sent += piece.length) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stuck = new Promise<boolean>((resolve) => timer = setTimeout(resolve, 500, true));
    const isStuck = await Promise.race([wire.send(piece).then(() => false), stuck]);
    clearTimeout(timer);
    if (isStuck) return sent;
  }
  return total;
}

for (const tls of modes) {
  Deno.test(`a client that pours while its message's disk is slow is held by the kernel (${tls})`, async () => {
    await using stage = await openHeld(tls);
    const disk = Promise.withResolvers<void>();
    stage.intake.onWrite = () => disk.promise;
    await using wire = await stage.login();
    await wire.ask("MAIL FROM:<a@example.com>");
    await wire.ask("RCPT TO:<b@example.org>");
    await wire.ask("DATA");
    await wire.send("From: a@example.com\r\n\r\n");
    const sent = await pourUntilStuck(wire);
    assert.ok(sent < mostUnread, `${sent} bytes went out`);
    disk.resolve();
    assert.match(await wire.ask("\r\n."), /^250/);
    assert.ok((stage.intake.taken[0]?.submission.body.size ?? 0) >= sent);
  });

  Deno.test(`a client that pours while DATA waits for memory is held by the kernel (${tls})`, async () => {
    await using stage = await openHeld(tls);
    const memory = Promise.withResolvers<Disposable>();
    stage.intake.reserveMemory = () => memory.promise;
    await using wire = await stage.login();
    await wire.ask("MAIL FROM:<a@example.com>");
    await wire.ask("RCPT TO:<b@example.org>");
    await wire.send("DATA\r\nFrom: a@example.com\r\n\r\n");
    const sent = await pourUntilStuck(wire);
    assert.ok(sent < mostUnread, `${sent} bytes went out`);
    memory.resolve({ [Symbol.dispose]: () => {} });
    assert.match(await wire.reply(), /^354/);
    assert.match(await wire.ask("\r\n."), /^250/);
  });
}

Deno.test("a client whose connection breaks while DATA waits for memory gives up its place", async () => {
  await using stage = await openHeld("none");
  const asked = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  stage.intake.reserveMemory = (_, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => {
        left.resolve();
        reject(signal.reason);
      }, { once: true });
      asked.resolve();
    });
  await using wire = await stage.login();
  await wire.ask("MAIL FROM:<a@example.com>");
  await wire.ask("RCPT TO:<b@example.org>");
  await wire.send("DATA\r\n");
  await asked.promise;
  wire.socket.resetAndDestroy();
  await left.promise;
});

Deno.test("a client that goes on sending after it was told to go is let go all the same", async () => {
  await using stage = await openHeld("none");
  await using wire = await stage.login();
  await wire.send("QUIT\r\n");
  for (let sent = 0; sent < 40; sent++) await wire.send(piece);
  assert.match(await wire.reply(), /^221/);
  await wire.ended();
});
