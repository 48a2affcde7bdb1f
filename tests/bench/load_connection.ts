import type { Buffer } from "node:buffer";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, createSecureContext } from "node:tls";
import type { LoadOptions } from "./load_options.ts";

/** A server's answer: the code, the enhanced code when there is one, and the last line without the code. */
export interface Reply {
  readonly code: number;
  readonly text: string;
}

/** The connection ended, or a reply took too long: what was sent may or may not have arrived. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** The server refused the greeting, TLS or the credentials. */
export class ConnectionRefused extends Error {
  override readonly name = "ConnectionRefused";
  constructor(readonly reply: Reply) {
    super(`${reply.code} ${reply.text}`);
  }
}

interface Waiter {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: ConnectionLost) => void;
}

/** Where to connect and as whom. */
export interface Destination extends Pick<LoadOptions, "host" | "port" | "tls" | "user" | "password"> {
  /** The address to connect from, when it matters. */
  readonly localAddress?: string;
}

// Building a context costs more than a handshake; every connection may share one.
const secureContext = createSecureContext();

/** One SMTP conversation over a raw socket; commands are answered in order. */
export class LoadConnection {
  #socket: Socket;
  #pending = "";
  readonly #waiters: Waiter[] = [];
  #lost: ConnectionLost | undefined;
  /** When the oldest unanswered command was sent, by `performance.now()`; undefined when all are answered. */
  waitingSince: number | undefined;

  private constructor(socket: Socket) {
    this.#socket = this.#listen(socket);
  }

  /** Connects, greets, and where asked negotiates TLS and logs in. */
  static async open(target: Destination): Promise<LoadConnection> {
    const plain = connectTcp({
      host: target.host,
      port: target.port,
      noDelay: true,
      ...(target.localAddress === undefined ? {} : { localAddress: target.localAddress }),
    });
    const connection = new LoadConnection(target.tls === "implicit" ? encrypt(plain) : plain);
    try {
      await connection.#introduce(target);
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** Sends a line and waits for its reply. */
  command(line: string): Promise<Reply> {
    this.#socket.write(line, "latin1");
    return this.reply();
  }

  /** The next reply that no earlier caller waits for. */
  reply(): Promise<Reply> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    this.waitingSince ??= performance.now();
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** Writes bytes; the promise is there only when the socket's buffer is full and must be awaited then. */
  write(bytes: Buffer): Promise<void> | undefined {
    if (this.#socket.write(bytes)) return undefined;
    return new Promise((resolve, reject) => {
      const socket = this.#socket;
      const settle = () => {
        socket.off("drain", settle).off("close", settle);
        this.#lost === undefined ? resolve() : reject(this.#lost);
      };
      socket.on("drain", settle).on("close", settle);
    });
  }

  /** Writes bytes and resolves when the kernel has them, so that nothing is written together with what follows. */
  writeAlone(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) => error ? reject(this.#lost ?? error) : resolve());
    });
  }

  /** Says goodbye and waits for the answer, as a polite client does before it closes. */
  async quit(): Promise<void> {
    await this.command("QUIT\r\n");
    this.close();
  }

  /** Ends the connection at once; everything that still waits for a reply is lost. */
  close(reason = "closed by the client"): void {
    this.#lose(reason);
    this.#socket.destroy();
  }

  async #introduce({ tls, user, password }: Destination): Promise<void> {
    await this.#demand(this.reply().catch(beforeGreeting));
    await this.#demand(this.command("EHLO bench.example.com\r\n"));
    if (tls === "starttls") {
      await this.#demand(this.command("STARTTLS\r\n"));
      this.#socket.removeAllListeners();
      this.#socket = this.#listen(encrypt(this.#socket));
      await this.#demand(this.command("EHLO bench.example.com\r\n"));
    }
    if (user !== "") await this.#demand(this.command(`AUTH PLAIN ${btoa(`\0${user}\0${password}`)}\r\n`));
  }

  async #demand(answer: Promise<Reply>): Promise<void> {
    const reply = await answer;
    if (reply.code >= 300) throw new ConnectionRefused(reply);
  }

  #listen(socket: Socket): Socket {
    socket.on("data", (chunk: Buffer) => this.#receive(chunk.toString("latin1")));
    socket.on("error", (error: Error & { code?: string }) => this.#lose(error.code ?? error.message));
    socket.on("close", () => this.#lose("closed by the server"));
    return socket;
  }

  #receive(text: string): void {
    this.#pending += text;
    for (let end = this.#pending.indexOf("\n"); end >= 0; end = this.#pending.indexOf("\n")) {
      const line = this.#pending.slice(0, end).trimEnd();
      this.#pending = this.#pending.slice(end + 1);
      if (line[3] === "-") continue;
      this.#answer({ code: Number(line.slice(0, 3)), text: line.slice(4) });
    }
  }

  #answer(reply: Reply): void {
    const waiter = this.#waiters.shift();
    this.waitingSince = this.#waiters.length === 0 ? undefined : performance.now();
    if (waiter === undefined) return this.close(`an unasked reply ${reply.code}`);
    waiter.resolve(reply);
  }

  #lose(reason: string): void {
    if (this.#lost !== undefined) return;
    this.#lost = new ConnectionLost(reason);
    this.waitingSince = undefined;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#lost);
  }
}

/** Nothing of the client's was lost: it had not begun. */
function beforeGreeting(error: Error): never {
  throw new ConnectionLost(`${error.message} before the greeting`);
}

/** The generator measures, it does not verify: any certificate will do. */
function encrypt(socket: Socket): Socket {
  return connectTls({ socket, secureContext, rejectUnauthorized: false, servername: "localhost" });
}
