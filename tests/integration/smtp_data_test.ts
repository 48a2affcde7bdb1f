import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import process from "node:process";
import { smuggling } from "../support/smuggling.ts";
import { openStage, type Stage, type Wire } from "../support/smtp_wire.ts";

const header =
  "From: a@example.com\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@x>\r\nSubject: x\r\n\r\n";

async function openData(stage: Stage, wire?: Wire): Promise<Wire> {
  const ready = wire ?? await stage.login();
  await ready.ask("MAIL FROM:<a@example.com>");
  await ready.ask("RCPT TO:<b@example.org>");
  assert.match(await ready.ask("DATA"), /^354/);
  return ready;
}

/** What was stored, without the Received field we put before it. */
function contentOf(stage: Stage, index: number): string {
  const taken = stage.intake.taken[index];
  assert.ok(taken, `no message ${index}`);
  let text = "";
  for (const byte of taken.bytes) text += String.fromCharCode(byte);
  const end = /\r\n(?![\t ])/.exec(text);
  assert.ok(text.startsWith("Received: ") && end !== null);
  return text.slice(end.index + 2);
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

Deno.test("DATA stores the client's bytes exactly, at every cut of the wire's", async () => {
  await using stage = await openStage();
  await using wire = await stage.login();
  const body = "..one\r\n.\ttwo\r\n\r\n...\r\n\xff\x00\x80.\r\nlast.\r\n";
  const wireBody = body.replace(/(^|\r\n)\./g, "$1..");
  const wireText = `${header}${wireBody}.\r\n`;
  for (let cut = 1; cut < wireText.length; cut++) {
    await openData(stage, wire);
    await wire.send(wireText.slice(0, cut));
    // Most often read as two chunks; that every cut is right is proved by the tests of LineGuard.
    await new Promise((resolve) => setImmediate(resolve));
    await wire.send(wireText.slice(cut));
    assert.match(await wire.reply(), /^250 2\.0\.0 Ok: queued as [0-9a-f-]{36}$/);
    assert.equal(contentOf(stage, cut - 1), header + body, `cut at ${cut}`);
  }
  const hash = createHash("sha256").update(bytesOf(header + body)).digest("hex");
  const hashes = new Set(stage.intake.taken.map(({ submission }) => submission.contentHash.toHex()));
  assert.deepEqual([...hashes], [hash]);
});

Deno.test("DATA stores a message that comes one byte a packet", async () => {
  await using stage = await openStage();
  await using wire = await openData(stage);
  const text = `${header}..dots\r\n`;
  for (const character of `${header}...dots\r\n.\r\n`) await wire.send(character);
  assert.match(await wire.reply(), /^250/);
  assert.equal(contentOf(stage, 0), text);
});

Deno.test("DATA refuses every smuggling sequence, and reads to the true end", async () => {
  await using stage = await openStage({ limits: { maxErrors: 1000 } });
  await using wire = await stage.login();
  for (const sequence of smuggling.filter((one) => !one.includes("\r\r\n.\r\n"))) {
    const name = JSON.stringify(sequence);
    await openData(stage, wire);
    await wire.send(`${header}a${sequence}MAIL FROM:<evil@example.com>\r\nRCPT TO:<x@y.test>\r\nDATA\r\n`);
    await wire.send("From: evil@example.com\r\n\r\nsmuggled\r\n.\r\nNOOP\r\n");
    assert.match(await wire.reply(), /^550 5\.6\.11 /, name);
    assert.match(await wire.reply(), /^250 2\.0\.0 Ok$/, name);
  }
  assert.equal(stage.intake.taken.length, 0);
  assert.equal(stage.intake.reserved, 0);
  assert.equal(stage.intake.begun, stage.intake.aborted + stage.intake.finished);
});

Deno.test("DATA refuses CR CR LF . CR LF, which does end the message", async () => {
  await using stage = await openStage();
  await using wire = await openData(stage);
  await wire.send(`${header}a\r\r\n.\r\nNOOP\r\n`);
  assert.match(await wire.reply(), /^550 5\.6\.11 /);
  assert.match(await wire.reply(), /^250 2\.0\.0 Ok$/);
});

Deno.test("DATA repairs bare line endings for an account that may have them", async () => {
  await using stage = await openStage();
  stage.gate.policy = stage.gate.policy && { ...stage.gate.policy, lineEndings: "repair" };
  await using wire = await openData(stage);
  await wire.send(`${header.replaceAll("\r\n", "\n")}a\nb\r\n.\r\n`);
  assert.match(await wire.reply(), /^250/);
  assert.equal(contentOf(stage, 0), `${header}a\r\nb\r\n`);
});

Deno.test("DATA adds Date and Message-ID when they are missing, and only then", async () => {
  await using stage = await openStage();
  await using wire = await openData(stage);
  await wire.send("From: a@example.com\r\n\r\nx\r\n.\r\n");
  const reply = await wire.reply();
  const id = /[0-9a-f-]{36}$/.exec(reply)?.[0];
  const added = `Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <${id}@mx.test>\r\n`;
  assert.equal(contentOf(stage, 0), `${added}From: a@example.com\r\n\r\nx\r\n`);
  assert.equal(stage.intake.taken[0]?.submission.headers.messageId, undefined);
  assert.equal(stage.intake.taken[0]?.submission.id, id);
});

Deno.test("DATA answers the id that accept() gives, which may be an earlier message's", async () => {
  await using stage = await openStage();
  stage.intake.accept = () => Promise.resolve("the-first" as never);
  await using wire = await openData(stage);
  await wire.send(`${header}x\r\n.\r\n`);
  assert.equal(await wire.reply(), "250 2.0.0 Ok: queued as the-first");
});

Deno.test("DATA keeps odd headers storable: NUL, raw 8-bit, a subject without end", async () => {
  await using stage = await openStage();
  await using wire = await openData(stage);
  await wire.send(`From: a@example.com\r\nSubject: \x00\xe4${"x".repeat(3000)}\r\n\r\n.\r\n`);
  assert.match(await wire.reply(), /^250/);
  const { headers } = stage.intake.taken[0]?.submission ?? assert.fail();
  assert.equal(headers.subject?.length, 998);
  assert.match(headers.subject ?? "", /^ äx/);
  assert.equal(headers.from, "a@example.com");
});

Deno.test("DATA takes a message exactly as large as the limit and no larger", async () => {
  const maxMessageSize = 1000;
  await using stage = await openStage({ rules: { maxMessageSize } });
  await using wire = await stage.login();
  for (const extra of [0, 1]) {
    await openData(stage, wire);
    await wire.send(`${header}${"x".repeat(maxMessageSize - header.length - 2 + extra)}\r\n.\r\n`);
    assert.match(await wire.reply(), extra === 0 ? /^250/ : /^552 5\.3\.4 .*1000 bytes/);
  }
  assert.equal(stage.intake.reserved, 0);
});

Deno.test("DATA reserves memory of its group's for the largest message, whatever size the client declared", async () => {
  await using stage = await openStage({ rules: { maxMessageSize: 10_000 } });
  const reserved: (readonly [string, number])[] = [];
  stage.intake.reserveMemory = (maxSize, _signal, group) => {
    reserved.push([group, maxSize]);
    return Promise.resolve({ [Symbol.dispose]: () => {} });
  };
  await using wire = await stage.login();
  await wire.ask("MAIL FROM:<a@example.com> SIZE=1");
  await wire.ask("RCPT TO:<b@x.test>");
  await wire.ask("DATA");
  assert.match(await wire.ask(`From: a@example.com\r\n\r\n${"x".repeat(900)}\r\n.`), /^250/);
  assert.deepEqual(reserved, [["g1", 10_000]]);
});

Deno.test("DATA far over the limit is answered and hung up on, instead of being read for ever", async () => {
  await using stage = await openStage({ rules: { maxMessageSize: 1000 } });
  await using wire = await openData(stage);
  const flood = new Uint8Array(65_536).fill(120);
  let isOver = false;
  void wire.ended().then(() => isOver = true);
  for (let sent = 0; sent < 400 && !isOver; sent++) await Promise.race([wire.send(flood), wire.ended()]);
  assert.match(await wire.reply(), /^552 5\.3\.4/);
  await wire.ended();
  assert.equal(stage.intake.reserved, 0);
});

Deno.test("DATA holds the client back while the writer does, and buffers next to nothing", async () => {
  await using stage = await openStage();
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => release = resolve);
  let written = 0;
  let firstWrite = (): void => {};
  const begun = new Promise<void>((resolve) => firstWrite = resolve);
  stage.intake.isDiscarding = true;
  stage.intake.onWrite = (chunk) => {
    written += chunk.length;
    firstWrite();
    return gate;
  };
  await using wire = await openData(stage);
  await wire.send(header);
  const body = new Uint8Array(8 * 1024 * 1024).fill(120);
  const sent = wire.send(body);
  await begun;
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(written < 300_000, `written ${written}`);
  release();
  stage.intake.onWrite = (chunk) => void (written += chunk.length);
  await sent;
  await wire.send("\r\n.\r\n");
  assert.match(await wire.reply(), /^250/);
  assert.ok(written > body.length);
});

Deno.test("DATA tells what the writer throws, and goes on", async () => {
  await using stage = await openStage();
  await using wire = await openData(stage);
  stage.intake.onWrite = () => Promise.reject(new Error("disk gone"));
  await wire.send(`${header}${"x\r\n".repeat(10_000)}.\r\n`);
  assert.match(await wire.reply(), /^451 4\.3\.0/);
  stage.intake.onWrite = () => undefined;
  await openData(stage, wire);
  await wire.send(`${header}x\r\n.\r\n`);
  assert.match(await wire.reply(), /^250/);
  assert.equal(stage.intake.reserved, 0);
});

Deno.test("DATA drops the message of a client that leaves in the middle", async () => {
  await using stage = await openStage();
  const wire = await openData(stage);
  await wire.send(`${header}${"x".repeat(100_000)}`);
  while (stage.intake.begun === 0) await new Promise((resolve) => setImmediate(resolve));
  await wire[Symbol.asyncDispose]();
  while (stage.intake.reserved > 0 || stage.intake.aborted === 0) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(stage.intake.taken.length, 0);
});

const size = 25 * 1024 * 1024;

/** Wire bytes of some shape, without header and end mark, each piece one write of the client. */
const shapes: Record<string, { readonly pieces: () => Iterable<Uint8Array>; readonly content: number }> = {
  "one line": { pieces: () => repeated("x".repeat(65_536), size), content: size },
  "dot lines": { pieces: () => repeated("..\r\n".repeat(16_384), size), content: (size / 4) * 3 },
  "empty lines": { pieces: () => repeated("\r\n".repeat(32_768), size), content: size },
  "ordinary lines": { pieces: () => repeated(`${"x".repeat(62)}\r\n`.repeat(1024), size), content: size },
  "lines of one letter": { pieces: () => repeated("x\r\n.".repeat(16_384), size), content: NaN },
};

function* repeated(text: string, total: number): Iterable<Uint8Array> {
  const piece = bytesOf(text);
  for (let sent = 0; sent < total; sent += piece.length) yield piece;
}

/** Microseconds of CPU that a message may cost: three seconds' worth, and more where the machine's sockets are slow. */
async function mostCpu(): Promise<number> {
  const server = createServer((socket) => socket.resume().on("end", () => socket.end()));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  const socket = connect(address.port, "127.0.0.1").resume();
  const before = process.cpuUsage();
  for (const piece of repeated("x".repeat(65_536), size)) {
    await new Promise((resolve) => socket.write(piece, resolve));
  }
  socket.end();
  await once(socket, "close");
  const { user, system } = process.cpuUsage(before);
  await new Promise((resolve) => server.close(resolve));
  return Math.max(3_000_000, 50 * (user + system));
}

for (const [name, { pieces, content }] of Object.entries(shapes)) {
  Deno.test(`DATA takes 25 MB of ${name} in few writes and for little CPU`, async () => {
    await using stage = await openStage({ rules: { maxMessageSize: 2 * size } });
    stage.intake.isDiscarding = true;
    await using wire = await openData(stage);
    await wire.send(header);
    const most = await mostCpu();
    const before = process.cpuUsage();
    for (const piece of pieces()) await wire.send(piece);
    await wire.send("\r\n.\r\n");
    assert.match(await wire.reply(), /^250/);
    const { user, system } = process.cpuUsage(before);
    const written = stage.intake.taken[0]?.submission.body.size ?? 0;
    if (!Number.isNaN(content)) assert.ok(Math.abs(written - content) < 1000, `${written} of ${content}`);
    assert.ok(stage.intake.writes < 7000, `${stage.intake.writes} writes`);
    // Both ends run in this process, so this is more than the server's share.
    assert.ok(user + system < most, `${(user + system) / 1000} ms of CPU`);
  });
}

Deno.test("DATA reads a trickle of single bytes seldom, so that they gather", async () => {
  await using stage = await openStage();
  stage.intake.isDiscarding = true;
  await using wire = await openData(stage);
  await wire.send(header);
  const total = 20_000;
  for (let sent = 0; sent < total; sent++) wire.socket.write("x");
  await wire.send("\r\n.\r\n");
  assert.match(await wire.reply(), /^250/);
  assert.ok(stage.intake.writes < 20, `${stage.intake.writes} writes`);
  const { size: stored } = stage.intake.taken[0]?.submission.body ?? assert.fail();
  assert.ok(stored > header.length + total && stored < header.length + total + 400, `${stored} bytes`);
});
