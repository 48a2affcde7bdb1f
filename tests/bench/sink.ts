// The receiving end of the bench: takes all mail over plain SMTP and counts ids. Argument: port (0 is any).
// Prints {"listening":port}; then answers each line on standard input, a file name to write the ids to or
// nothing, with one JSON line of counts; ends when standard input does.
import type { Buffer } from "node:buffer";
import { writeFileSync, writeSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { SinkReceiver } from "./sink_receiver.ts";

/** What the sink has taken since it started. */
export interface SinkCounts {
  readonly messages: number;
  readonly recipients: number;
  readonly uniqueIds: number;
  /** Messages beyond the first of each id. */
  readonly duplicates: number;
  readonly withoutId: number;
  /** Seconds from the first message to the last. */
  readonly seconds: number;
  /** Messages in each second since the first. */
  readonly bySecond: readonly number[];
}

const times = new Map<string, number>();
const bySecond: number[] = [];
let messages = 0;
let recipients = 0;
let withoutId = 0;
let firstAt = 0;
let lastAt = 0;

function take(id: string | undefined, recipientCount: number): void {
  lastAt = performance.now();
  if (messages === 0) firstAt = lastAt;
  messages++;
  recipients += recipientCount;
  const second = Math.floor((lastAt - firstAt) / 1_000);
  bySecond[second] = (bySecond[second] ?? 0) + 1;
  if (id === undefined) withoutId++;
  else times.set(id, (times.get(id) ?? 0) + 1);
}

function counts(): SinkCounts {
  return {
    messages,
    recipients,
    uniqueIds: times.size,
    duplicates: messages - withoutId - times.size,
    withoutId,
    seconds: (lastAt - firstAt) / 1_000,
    bySecond: Array.from(bySecond, (count) => count ?? 0),
  };
}

function converse(socket: Socket): void {
  const receiver = new SinkReceiver(take);
  socket.on("data", (chunk: Buffer) => {
    const { replies, quit } = receiver.receive(chunk);
    if (replies !== "") socket.write(replies, "latin1");
    if (quit) socket.end();
  });
  // A client that breaks off has sent what it has sent; the counts tell.
  socket.on("error", () => socket.destroy());
  socket.write("220 sink.example.net ESMTP\r\n", "latin1");
}

const server = createServer({ noDelay: true }, converse);
server.listen(Number(Deno.args[0] ?? "0"), "127.0.0.1", () => {
  writeSync(1, JSON.stringify({ listening: (server.address() as AddressInfo).port }) + "\n");
});
for await (const file of createInterface({ input: process.stdin })) {
  if (file !== "") {
    const lines = [...times].map(([id, count]) => `${id} ${count}\n`);
    writeFileSync(file, lines.join(""));
  }
  writeSync(1, JSON.stringify(counts()) + "\n");
}
process.exit(0);
