import assert from "node:assert/strict";
import type { HeaderFacts } from "../../lib/mime/headers.ts";
import { Buffer } from "node:buffer";
import { DataPhase } from "./data_phase.ts";
import { Input } from "./input.ts";

/** An input whose commands end when the test says so, and whose tap only counts. */
class Stand {
  readonly commands: string[] = [];
  readonly calls: string[] = [];
  readonly input: Input;
  isOpen = true;
  written = 0;
  /** Bytes that came over the wire, as the tap tells it. */
  onTheWire = 0;
  text = "";
  release: () => void = () => {};
  /** What the writer of a message answers to each write. */
  wait: () => Promise<void> | undefined = () => undefined;

  constructor() {
    this.input = new Input({
      command: (line, done) => {
        this.commands.push(new TextDecoder().decode(line));
        this.release = done;
      },
      dataEnded: (done) => {
        this.calls.push("dataEnded");
        done();
      },
      broken: (reply) => void this.calls.push(reply),
      idle: () => {},
      ended: () => void this.calls.push("ended"),
    }, {
      open: () => void (this.isOpen = true),
      close: () => void (this.isOpen = false),
      bytesRead: () => this.onTheWire,
    });
  }

  startData(header = "From: a@example.com\r\n\r\n"): void {
    this.input.startData(
      new DataPhase({
        maxSize: 50_000_000,
        maxHeader: 65_536,
        lineEndings: "refuse",
        open: (_: HeaderFacts) => ({
          write: (chunk) => {
            this.written += chunk.length;
            this.text += new TextDecoder().decode(chunk);
            return this.wait();
          },
          finish: () => Promise.reject(new Error("Not asked for")),
          abort: () => Promise.resolve(),
        }),
      }),
      4 << 20,
    );
    this.input.write(Buffer.from(header));
  }

  /** Gives chunks, each a copy, while the tap is open; answers how many were taken. */
  pour(chunk: Uint8Array, most: number): number {
    let count = 0;
    for (; count < most && this.isOpen; count++) this.input.write(chunk.slice());
    return count;
  }

  /** Waits until everything written has been taken. */
  async idle(): Promise<void> {
    while (this.input.isBusy) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** Waits for the tap to be opened again. */
  async opened(): Promise<void> {
    while (!this.isOpen) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

Deno.test("Input reads no more than little while a command is worked on", () => {
  const stand = new Stand();
  stand.input.write(bytes("MAIL\r\n"));
  assert.ok(stand.isOpen, "a client that waits is still seen leaving");
  const taken = stand.pour(bytes("NOOP\r\n".repeat(10)), 10_000);
  assert.ok(taken <= 17, `${taken} chunks`);
  assert.deepEqual(stand.commands, ["MAIL"]);
});

Deno.test("Input reads on when what it held has been worked off", () => {
  const stand = new Stand();
  stand.input.write(bytes("MAIL\r\n"));
  stand.pour(bytes("NOOP\r\n".repeat(3000)), 10_000);
  assert.equal(stand.isOpen, false);
  while (stand.commands.length < 40) stand.release();
  assert.equal(stand.isOpen, false, "commands still wait");
  stand.input.isClosed = true;
});

Deno.test("Input lets others have their turn after 128 KiB of one message", async () => {
  const stand = new Stand();
  stand.startData();
  const chunk = bytes("\r\n.\ra".repeat(10_000));
  for (let turn = 0; turn < 5; turn++) {
    const taken = stand.pour(chunk, 1000);
    assert.ok(taken * chunk.length <= 131_072 + chunk.length, `${taken} chunks in one turn`);
    assert.equal(stand.isOpen, false);
    await stand.opened();
  }
});

Deno.test("Input holds little of a message that its writer cannot take", async () => {
  const stand = new Stand();
  const { promise, resolve } = Promise.withResolvers<void>();
  stand.wait = () => promise;
  stand.startData();
  const taken = stand.pour(bytes("x".repeat(8192)), 10_000);
  assert.ok(taken <= 4, `${taken} chunks`);
  stand.wait = () => undefined;
  resolve();
  await stand.opened();
  assert.ok(stand.written >= (taken - 1) * 8192);
});

Deno.test("Input gives tiny packets time to gather, and takes the end mark without a wait", async () => {
  const stand = new Stand();
  stand.startData();
  const early = stand.pour(bytes("x"), 10_000);
  assert.ok(early < 16, `${early} reads before the first wait`);
  await stand.opened();
  stand.input.write(bytes("\r\n.\r\n"));
  assert.deepEqual(stand.calls, ["dataEnded"]);
  assert.ok(stand.isOpen);
});

Deno.test("Input gives the memory of a message's chunks back, and only of those", async () => {
  const stand = new Stand();
  stand.startData();
  const [first, second] = [bytes("x".repeat(8192)), bytes(`${"y".repeat(8192)}\r\n.\r\nNOOP\r\n`)];
  stand.input.write(first);
  await stand.idle();
  stand.input.write(second);
  assert.equal(first.length, 0, "freed");
  assert.equal(second.length, 8192 + 11, "the rest of it is a command");
  assert.deepEqual(stand.commands, ["NOOP"]);
});

Deno.test("Input keeps what it has not passed on when it gives a chunk's memory back", async () => {
  const stand = new Stand();
  const held = Promise.withResolvers<void>();
  stand.wait = () => held.promise;
  const [long, rest] = ["X-Long: " + "x".repeat(8192), "\r\nFrom: a@example.com\r\n\r\n" + "y".repeat(8192)];
  stand.startData(long);
  stand.input.write(Buffer.from(rest));
  stand.input.write(Buffer.from("z".repeat(8192)));
  held.resolve();
  await stand.idle();
  assert.equal(stand.text, long + rest + "z".repeat(8192));
});

Deno.test("Input gives up a message that is next to nothing but TLS's own bytes", async () => {
  const stand = new Stand();
  stand.onTheWire = 5_000;
  stand.startData();
  await stand.idle();
  stand.onTheWire += 4_190_000;
  stand.input.write(Buffer.from("x"));
  await stand.idle();
  assert.deepEqual(stand.calls, []);
  stand.onTheWire += 10_000;
  stand.input.write(Buffer.from("x"));
  await stand.idle();
  assert.deepEqual(stand.calls, ["dataEnded"]);
});

Deno.test("Input takes a message whose TLS records hold a line each", async () => {
  const stand = new Stand();
  stand.startData();
  await stand.idle();
  const lines = Buffer.from(`${"x".repeat(998)}\r\n`.repeat(5));
  for (let read = 0; read < 600; read++) {
    stand.onTheWire += 3 * lines.length;
    stand.input.write(Uint8Array.from(lines));
    await stand.idle();
  }
  assert.deepEqual(stand.calls, []);
});
