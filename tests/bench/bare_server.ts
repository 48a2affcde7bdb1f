// The yardstick of the bench: npm:smtp-server alone, which throws every body away and waits for nothing.
// Arguments: port (0 is any free one), key file, certificate file; prints one JSON line when it listens.
import { SMTPServer } from "smtp-server";
import { SMTPConnection } from "smtp-server/lib/smtp-connection.js";
import { readFileSync, writeSync } from "node:fs";
import type { AddressInfo } from "node:net";

/** A connection that greets at once: the library would wait 100 ms for early talkers. */
class PromptConnection extends SMTPConnection {
  override init(): void {
    this._setListeners(() => this.connectionReady());
  }
}

/** A server whose connections greet at once. */
class PromptServer extends SMTPServer {
  override connect(...[socket, options]: Parameters<SMTPServer["connect"]>): void {
    const connection = new PromptConnection(this, socket, options);
    this.connections.add(connection);
    connection.on("error", () => {});
    connection.init();
  }
}

const [port = "0", key = "", cert = ""] = Deno.args;
const server = new PromptServer({
  key: readFileSync(key, "utf8"),
  cert: readFileSync(cert, "utf8"),
  disableReverseLookup: true,
  onAuth: ({ username, password }, _session, done) =>
    username === "dev" && password === "dev"
      ? done(null, { user: username })
      : done(new Error("Wrong password")),
  onData(stream, _session, done) {
    stream.resume().on("end", () => done());
  },
});
server.listen(Number(port), "127.0.0.1", () => {
  writeSync(1, JSON.stringify({ listening: (server.server.address() as AddressInfo).port }) + "\n");
});
