import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { connect, TLSSocket } from "node:tls";
import { Tap } from "../../services/smtp-server/tap.ts";
import { sinkCertificate } from "../support/sink_certificate.ts";

/** What a socket's large reads bring, kept to be looked at afterwards. */
interface Reads {
  bytes: number;
  readonly buffers: ArrayBuffer[];
}

/** Watches how a socket hands its reads on; to be called before what is tested puts itself in between. */
function watchReads(socket: Socket): Reads {
  const reads: Reads = { bytes: 0, buffers: [] };
  const { _handle: handle } = socket as Socket & { _handle: { onread(taken: unknown): void } };
  const onread = handle.onread;
  handle.onread = function (taken) {
    if (taken instanceof ArrayBuffer && taken.byteLength >= 4096) {
      reads.bytes += taken.byteLength;
      reads.buffers.push(taken);
    }
    onread.call(this, taken);
  };
  return reads;
}

/** Sends bytes through TLS that was put on a socket as STARTTLS does it; answers what arrived. */
async function throughTls(sent: Buffer, prepare: (socket: Socket) => void): Promise<Buffer> {
  const arrived = Promise.withResolvers<Buffer>();
  const server = createServer((socket) => {
    const secure = new TLSSocket(socket, { isServer: true, ...sinkCertificate });
    const chunks: Buffer[] = [];
    secure.once("secure", () => prepare(socket));
    secure.on("data", (chunk: Buffer) => chunks.push(chunk));
    secure.on("end", () => arrived.resolve(Buffer.concat(chunks)));
    secure.on("error", arrived.reject);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const { port } = server.address() as AddressInfo;
    const client = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
    await once(client, "secureConnect");
    client.end(sent);
    return await arrived.promise;
  } finally {
    server.close();
  }
}

Deno.test("Tap.freeTaken() frees what a TLSSocket of this runtime has read, and nothing too early", async () => {
  const sent = Buffer.alloc(3 << 20, "0123456789abcdef\r\n");
  let reads: Reads = { bytes: 0, buffers: [] };
  const arrived = await throughTls(sent, (socket) => {
    reads = watchReads(socket);
    new Tap(socket).freeTaken();
  });
  assert.ok(arrived.equals(sent));
  assert.ok(reads.bytes > sent.length / 2, `large reads brought ${reads.bytes} bytes`);
  assert.deepEqual(reads.buffers.filter((buffer) => buffer.byteLength > 0), []);
});
