import assert from "node:assert/strict";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import { deliver, openStage, plainToken, type Stage, turn, Wire } from "../support/smtp_wire.ts";

/** A small seeded generator (mulberry32), so that a failure can be played again. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  }

  pick<Value>(values: readonly [Value, ...Value[]]): Value {
    return values[this.below(values.length)] ?? values[0];
  }

  text(length: number, alphabet: string): string {
    let text = "";
    for (let at = 0; at < length; at++) text += alphabet.charAt(this.below(alphabet.length));
    return text;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

const token = plainToken("user", "secret");
const commands = [
  "EHLO x",
  "HELO x",
  `AUTH PLAIN ${token}`,
  "AUTH LOGIN",
  "AUTH PLAIN",
  "*",
  "MAIL FROM:<a@example.com>",
  "MAIL FROM:<>",
  "RCPT TO:<b@x.test>",
  "RCPT TO:<",
  "DATA",
  "RSET",
  "NOOP",
  "HELP",
  "VRFY x",
  "EXPN x",
  "STARTTLS",
  "QUIT",
  ".",
  "",
  "From: a@example.com",
  "MAIL FROM:<a@example.com> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=x",
  "BDAT 1 LAST",
] as const;
const nasty = '\r\n.\0 <>@:="\\a\x80\xff';

/** What one fuzzing client sends, piece by piece. */
function* said(random: Random): Iterable<string | Uint8Array> {
  const steps = 1 + random.below(20);
  for (let step = 0; step < steps; step++) {
    switch (random.below(8)) {
      case 0:
        yield random.bytes(random.below(400));
        break;
      case 1:
        yield random.text(random.below(60), nasty);
        break;
      case 2:
        yield random.text(random.below(20_000), "abc ");
        break;
      case 3:
        yield `MAIL FROM:<${random.text(random.below(40), nasty)}>\r\n`;
        break;
      case 4:
        yield `MAIL FROM:<a@example.com>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nFrom: ${
          random.text(20, nasty)
        }\r\n\r\n`;
        break;
      default:
        yield random.pick(commands) + random.pick(["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", ""]);
    }
  }
}

const replies = /^(\d{3}[ -][\x20-\x7e]*\r\n)*$/;

async function converse(stage: Stage, random: Random): Promise<void> {
  await using wire = await Wire.open(stage.port);
  for (const piece of said(random)) {
    if (wire.hasEnded) break;
    await Promise.race([wire.send(piece), wire.ended()]);
    if (random.below(3) === 0) await turn();
  }
  switch (random.below(3)) {
    case 0:
      wire.socket.end();
      await wire.ended();
      break;
    case 1:
      await turn();
  }
  assert.match(wire.pendingText, replies);
}

for (const seed of [1, 2, 3, 4]) {
  Deno.test(`the listener survives whatever it is sent (seed ${seed})`, async () => {
    const certificate = await selfSignedCertificate(new Date(), "host.test");
    const tls = seed % 2 === 0 ? "starttls" : "none";
    await using stage = await openStage({
      tls,
      certificate,
      limits: { maxLoginFailures: 100 },
    });
    const random = new Random(seed);
    for (let round = 0; round < 150; round++) await converse(stage, random);
    while (stage.listener.connections > 0) await turn();
    assert.deepEqual(stage.watcher.errors, []);
    assert.equal(stage.intake.reserved, 0);
    assert.equal(stage.intake.begun, stage.intake.finished + stage.intake.aborted);
    const count = (event: string): number => stage.watcher.events.filter((one) => one === event).length;
    assert.equal(count("opened"), count("closed"));
    await using wire = await stage.login();
    assert.match(await deliver(wire), /^250 2\.0\.0/);
  });
}

Deno.test("the listener answers an endless line once and closes", async () => {
  await using stage = await openStage();
  await using wire = await Wire.open(stage.port);
  await wire.reply();
  const piece = "x".repeat(4096);
  for (let sent = 0; sent < 100 && !wire.hasEnded; sent++) {
    await Promise.race([wire.send(piece), wire.ended()]);
  }
  assert.match(await wire.reply(), /^500 5\.5\.2/);
  await wire.ended();
});

Deno.test("the listener keeps no socket of clients that come and go", async () => {
  const certificate = await selfSignedCertificate(new Date(), "host.test");
  for (const tls of ["none", "implicit"] as const) {
    await using stage = await openStage({ tls, certificate });
    for (let round = 0; round < 50; round++) {
      await using wire = await Wire.open(stage.port);
      if (round % 2 === 0) await wire.send(new Uint8Array(round));
    }
    while (stage.listener.connections > 0) await turn();
  }
});
