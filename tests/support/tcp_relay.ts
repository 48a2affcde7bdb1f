/** Stands between a client and a server, so that a test can break and mend the way between them. */
export interface TcpRelay extends AsyncDisposable {
  /** `127.0.0.1:<port>` or `[::1]:<port>`, where clients connect. */
  readonly address: string;
  readonly port: number;
  /** Connections that their clients have not closed, also while nothing is passed on. */
  readonly clients: number;
  /** Ends every connection and refuses new ones. */
  cut(): void;
  /** Takes connections and bytes and passes nothing on. */
  hang(): void;
  /** Passes everything on again, what was held back included. */
  mend(): void;
}

/** Starts to pass connections on to a server on 127.0.0.1; clients may come by another loopback address. */
export function startTcpRelay(serverPort: number, hostname = "127.0.0.1"): TcpRelay {
  return new Relay(serverPort, hostname);
}

class Relay implements TcpRelay {
  readonly address: string;
  readonly port: number;
  readonly #serverPort: number;
  readonly #listener: Deno.Listener;
  readonly #open = new Set<Deno.Conn>();
  readonly #running = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;
  #isCut = false;
  #clients = 0;
  #gate = Promise.withResolvers<void>();

  constructor(serverPort: number, hostname: string) {
    this.#serverPort = serverPort;
    this.#listener = Deno.listen({ hostname, port: 0 });
    this.port = (this.#listener.addr as Deno.NetAddr).port;
    this.address = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.port}`;
    this.#gate.resolve();
    this.#accepting = this.#accept();
  }

  get clients(): number {
    return this.#clients;
  }

  cut(): void {
    this.#isCut = true;
    this.#gate.resolve();
    for (const connection of this.#open) close(connection);
    this.#open.clear();
  }

  hang(): void {
    this.#gate = Promise.withResolvers();
  }

  mend(): void {
    this.#isCut = false;
    this.#gate.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut();
    await this.#accepting;
    await Promise.all(this.#running);
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      if (this.#isCut) {
        close(client);
        continue;
      }
      const pair = this.#pair(client).finally(() => this.#running.delete(pair));
      this.#running.add(pair);
    }
  }

  async #pair(client: Deno.Conn): Promise<void> {
    this.#open.add(client);
    this.#clients++;
    let hasLeft = false;
    const left = () => {
      if (!hasLeft) this.#clients--;
      hasLeft = true;
    };
    try {
      await this.#gate.promise;
      const server = await Deno.connect({ hostname: "127.0.0.1", port: this.#serverPort });
      this.#open.add(server);
      if (this.#isCut) this.cut();
      await Promise.all([this.#pass(client, server, left), this.#pass(server, client)]);
      this.#open.delete(server);
    } catch (error) {
      if (!isGone(error)) throw error;
    } finally {
      left();
      close(client);
      this.#open.delete(client);
    }
  }

  /** Until one side ends, which ends the other; `onEnd` is told at once, also while nothing is passed on. */
  async #pass(from: Deno.Conn, to: Deno.Conn, onEnd = () => {}): Promise<void> {
    const buffer = new Uint8Array(65536);
    let passed = Promise.resolve();
    try {
      for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
        const bytes = buffer.slice(0, count);
        passed = passed.then(() => this.#passOn(bytes, to));
        // Its failure is told below; here it only must not be called unhandled.
        passed.catch(() => {});
      }
      onEnd();
      await passed;
    } catch (error) {
      if (!isGone(error)) throw error;
    } finally {
      onEnd();
      close(from);
      close(to);
    }
  }

  async #passOn(bytes: Uint8Array, to: Deno.Conn): Promise<void> {
    await this.#gate.promise;
    for (let sent = 0; sent < bytes.length;) sent += await to.write(bytes.subarray(sent));
  }
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** What a connection throws that the other side, or the test, has ended. */
function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.NotConnected;
}
