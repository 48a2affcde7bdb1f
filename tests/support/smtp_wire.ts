import { connect as connectTcp, type Socket } from "node:net";
import { Buffer } from "node:buffer";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { createHash } from "node:crypto";
import type { GroupId, MessageId, UserId } from "../../lib/ids.ts";
import type { Submission } from "../../lib/messages/message.ts";
import { Refusal } from "../../lib/refusal.ts";
import type { Body } from "../../lib/store/body.ts";
import type { BodyLabel } from "../../lib/store/message_store.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { type Listener, openListener } from "../../services/smtp-server/listener.ts";
import type { ListenerOptions, TlsMode } from "../../services/smtp-server/listener_options.ts";
import type { AccountPolicy, Gate, Identity, Intake, Observer } from "../../services/smtp-server/intake.ts";

/** One message as the intake was given it. */
export interface Taken {
  readonly submission: Submission;
  readonly bytes: Uint8Array;
}

/** An intake in memory whose answers a test can change. */
export class FakeIntake implements Intake {
  readonly taken: Taken[] = [];
  ready: (identity: Identity) => Promise<void> | void = () => {};
  reserveMemory: Intake["reserveMemory"] = () => {
    this.reserved++;
    return Promise.resolve({ [Symbol.dispose]: () => void this.reserved-- });
  };
  accept: (submission: Submission) => Promise<MessageId> = (submission) => this.keep(submission);
  /** Called with each write; a promise holds the client back. */
  onWrite: (chunk: Uint8Array) => Promise<void> | undefined = () => undefined;
  isDiscarding = false;
  reserved = 0;
  begun = 0;
  finished = 0;
  aborted = 0;
  writes = 0;

  async keep(submission: Submission): Promise<MessageId> {
    this.taken.push({
      submission,
      bytes: this.isDiscarding ? new Uint8Array(0) : await submission.body.bytes(),
    });
    return submission.id;
  }

  begin(_: BodyLabel, prefix: Uint8Array): ReturnType<Intake["begin"]> {
    this.begun++;
    const chunks = [prefix];
    let size = prefix.length;
    return {
      write: (chunk) => {
        this.writes++;
        size += chunk.length;
        if (!this.isDiscarding) chunks.push(chunk.slice());
        return this.onWrite(chunk);
      },
      finish: () => {
        this.finished++;
        const contentHash = sha256Of(Buffer.concat(chunks.slice(1)));
        return Promise.resolve({ body: memoryBody(Buffer.concat(chunks), size), contentHash });
      },
      abort: () => {
        this.aborted++;
        return Promise.resolve();
      },
    };
  }
}

function memoryBody(bytes: Uint8Array, size: number): Body {
  return {
    size,
    sha256: sha256Of(bytes),
    bytes: () => Promise.resolve(bytes),
    stream: () => new Blob([bytes.slice()]).stream(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function sha256Of(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

/** A gate with the one account `user` / `secret`. */
export class FakeGate implements Gate {
  policy: AccountPolicy | undefined = {
    revision: "1",
    isSuspended: false,
    allowedDomains: ["example.com"],
    groupDomains: ["*"],
    lineEndings: "refuse",
    allowedNetworks: [],
  };
  readonly tried: { username: string; password: string; address: string }[] = [];
  readonly forgotten: Identity[] = [];
  onLogin: () => Promise<void> = () => Promise.resolve();
  policyOf: () => Promise<AccountPolicy | undefined> = () => Promise.resolve(this.policy);

  async authenticate(username: string, password: string, address: string): Promise<Identity> {
    this.tried.push({ username, password, address });
    await this.onLogin();
    if (username !== "user" || password !== "secret") {
      throw new Refusal("credentials_wrong", "Authentication failed");
    }
    return { user: "u1" as UserId, group: "g1" as GroupId, username, revision: "1" };
  }

  forget(identity: Identity): void {
    this.forgotten.push(identity);
  }
}

/** What was counted and logged, in order. */
export class Watcher implements Observer {
  readonly events: string[] = [];
  readonly errors: unknown[] = [];
  readonly infos: unknown[] = [];
  connection = (result: string, reason = ""): void => void this.events.push(`${result} ${reason}`.trim());
  session = (change: string): void => void this.events.push(change);
  login = (result: string): void => void this.events.push(`login ${result}`);
  refused = (reason: string): void => void this.events.push(`refused ${reason}`);
  accepted = (): void => void this.events.push("message");

  get log(): Log {
    const log: Log = {
      debug: () => {},
      info: (sentence, fields) => void this.infos.push([sentence, fields]),
      warn: () => {},
      error: (sentence, fields) => void this.errors.push([sentence, fields?.error]),
      with: () => log,
    };
    return log;
  }
}

/** A running listener with everything around it that a test may look at. */
export interface Stage extends AsyncDisposable {
  readonly listener: Listener;
  readonly options: ListenerOptions;
  readonly port: number;
  readonly intake: FakeIntake;
  readonly gate: FakeGate;
  readonly watcher: Watcher;
  connect(): Promise<Wire>;
  /** Connected, greeted, EHLO said and authenticated (over TLS in the modes that need it). */
  login(): Promise<Wire>;
}

/** What a test wants to be different. */
export interface StageOptions {
  readonly tls?: TlsMode;
  readonly certificate?: { key: string; cert: string };
  readonly limits?: Partial<ListenerOptions["limits"]>;
  readonly rules?: Partial<ListenerOptions["session"]["rules"]>;
  readonly trustedProxies?: ListenerOptions["trustedProxies"];
  readonly host?: string;
  /** Instead of the account `user` / `secret`. */
  readonly gate?: Gate;
  /** Instead of `watcher`. */
  readonly observer?: Observer;
}

/** Opens a listener on a free port of the loopback. */
export async function openStage(options: StageOptions = {}): Promise<Stage> {
  const intake = new FakeIntake();
  const gate = new FakeGate();
  const watcher = new Watcher();
  const host = options.host ?? "127.0.0.1";
  const tls = options.tls ?? "none";
  const settings: ListenerOptions = {
    ports: [{ host, port: 0, tls }],
    ...(options.certificate === undefined ? {} : { certificate: options.certificate }),
    session: {
      gate: options.gate ?? gate,
      intake,
      now: () => new Date("2026-11-22T12:00:00Z"),
      rules: {
        hostname: "mx.test",
        maxMessageSize: 26_214_400,
        maxHeaderSize: 65_536,
        maxRecipients: 100,
        maxReceived: 30,
        requireGroupDomains: true,
        received: "full",
        ...options.rules,
      },
    },
    limits: {
      maxConnections: 1000,
      maxConnectionsPerAddress: 1000,
      idleMs: 60_000,
      writeMs: 60_000,
      sessionMs: 3_600_000,
      handshakeMs: 60_000,
      dataMs: 60_000,
      minBytesPerSecond: 1024,
      maxFraming: 4 << 20,
      maxCommands: 1000,
      maxErrors: 20,
      maxLoginFailures: 3,
      ...options.limits,
    },
    trustedProxies: options.trustedProxies ?? [],
    observer: options.observer ?? watcher,
    log: watcher.log,
  };
  const listener = await openListener(settings);
  const port = listener.ports[0] ?? 0;
  async function connect(): Promise<Wire> {
    const wire = tls === "implicit" ? await Wire.openTls(port, host) : await Wire.open(port, host);
    return wire;
  }
  return {
    listener,
    options: settings,
    port,
    intake,
    gate,
    watcher,
    connect,
    async login() {
      const wire = await connect();
      await wire.reply();
      await wire.ask("EHLO client.test");
      if (tls === "starttls") {
        await wire.ask("STARTTLS");
        await wire.startTls();
        await wire.ask("EHLO client.test");
      }
      await wire.ask(`AUTH PLAIN ${plainToken("user", "secret")}`);
      return wire;
    },
    [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose](),
  };
}

/** A connection that has been greeted. */
export async function greeted(stage: Stage): Promise<Wire> {
  const wire = await stage.connect();
  await wire.reply();
  return wire;
}

/** Sends a small message on an authenticated connection and gives the last reply. */
export async function deliver(wire: Wire): Promise<string> {
  await wire.ask("MAIL FROM:<a@example.com>");
  await wire.ask("RCPT TO:<b@example.org>");
  await wire.ask("DATA");
  return await wire.ask("From: a@example.com\r\n\r\nx\r\n.");
}

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The response of AUTH PLAIN. */
export function plainToken(username: string, password: string): string {
  return new TextEncoder().encode(`\0${username}\0${password}`).toBase64();
}

/** A client that says exactly the bytes it is told. */
export class Wire implements AsyncDisposable {
  socket: Socket | TLSSocket;
  #received = "";
  #waiting: (() => void) | undefined;
  #hasEnded = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.#listen(socket);
  }

  static async open(port: number, host = "127.0.0.1"): Promise<Wire> {
    const socket = connectTcp({ port, host, noDelay: true, allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new Wire(socket);
  }

  static async openTls(port: number, host = "127.0.0.1"): Promise<Wire> {
    const socket = connectTls({ port, host, rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
    });
    return new Wire(socket);
  }

  async startTls(): Promise<void> {
    const plain = this.socket;
    plain.removeAllListeners("data");
    const socket = connectTls({ socket: plain, rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
    });
    this.#received = "";
    this.socket = socket;
    this.#listen(socket);
  }

  /** Everything received that no `reply` has taken yet. */
  get pendingText(): string {
    return this.#received;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  send(bytes: string | Uint8Array): Promise<void> {
    const data = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes;
    return new Promise((resolve) => this.socket.write(data, () => resolve()));
  }

  /** The next reply, of however many lines, without its last CR LF; "closed" when the server has closed. */
  async reply(): Promise<string> {
    while (true) {
      const match = /^(?:\d{3}-[^\r\n]*\r\n)*\d{3}(?: [^\r\n]*)?\r\n/.exec(this.#received);
      if (match !== null) {
        this.#received = this.#received.slice(match[0].length);
        return match[0].slice(0, -2);
      }
      if (this.#hasEnded) return this.#received === "" ? "closed" : `closed after ${this.#received}`;
      await new Promise<void>((resolve) => this.#waiting = resolve);
    }
  }

  async ask(line: string): Promise<string> {
    await this.send(`${line}\r\n`);
    return await this.reply();
  }

  /** Resolves when the server has closed its side. */
  async ended(): Promise<void> {
    while (!this.#hasEnded) await new Promise<void>((resolve) => this.#waiting = resolve);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.socket.closed) return;
    const closed = new Promise<void>((resolve) => this.socket.once("close", () => resolve()));
    this.socket.destroy();
    await closed;
  }

  #listen(socket: Socket | TLSSocket): void {
    socket.on("data", (chunk: Uint8Array) => {
      this.#received += Buffer.from(chunk).toString("latin1");
      this.#wake();
    });
    for (const event of ["end", "close"] as const) {
      socket.on(event, () => {
        this.#hasEnded = true;
        this.#wake();
      });
    }
    socket.on("error", () => {
      this.#hasEnded = true;
      this.#wake();
    });
  }

  #wake(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }
}
