import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Buffer } from "node:buffer";

/** Checks AUTH PLAIN for a server that speaks Dovecot's authentication protocol, by comparing and nothing else. */
export interface SaslResponder {
  readonly port: number;
  close(): void;
}

const greeting = [
  "VERSION\t1\t1",
  "MECH\tPLAIN\tplaintext",
  "SPID\t1",
  "CUID\t1",
  "COOKIE\t" + "0".repeat(32),
  "DONE",
];

/** Listens on loopback and knows one account. */
export async function openSaslResponder(account: { user: string; password: string }): Promise<SaslResponder> {
  const expected = btoa(`\0${account.user}\0${account.password}`);
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    let pending = "";
    socket.on("data", (chunk: Buffer) => {
      const lines = (pending + chunk.toString("latin1")).split("\n");
      pending = lines.pop() ?? "";
      for (const line of lines) {
        const [command, id, , ...parameters] = line.split("\t");
        if (command !== "AUTH") continue;
        const isRight = parameters.includes(`resp=${expected}`);
        socket.write(isRight ? `OK\t${id}\tuser=${account.user}\n` : `FAIL\t${id}\n`, "latin1");
      }
    });
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.write(greeting.join("\n") + "\n", "latin1");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
