// The receiving end of the bench: takes all mail over plain SMTP and counts ids. Argument: port (0 is any).
// What it prints and understands: see `SinkTally.report`.
import type { Buffer } from "node:buffer";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { SinkReceiver } from "./sink_receiver.ts";
import { SinkTally } from "./sink_tally.ts";

const tally = new SinkTally();

function converse(socket: Socket): void {
  const receiver = new SinkReceiver((id, recipients) => tally.take(id, recipients));
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
const listening = Promise.withResolvers<void>();
server.listen(Number(Deno.args[0] ?? "0"), "127.0.0.1", () => listening.resolve());
await listening.promise;
await tally.report((server.address() as AddressInfo).port);
