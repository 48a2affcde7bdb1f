import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { Crowd } from "../../lib/crowd.ts";
import { type ConnectionLimits, Conversation, type Wire } from "./conversation.ts";
import { type Front, openFront, type Origin, SocketCounter } from "./front.ts";
import { Input } from "./input.ts";
import type { Observer } from "./intake.ts";
import { LibraryConnection, type LibraryServer, libraryServer } from "./library_server.ts";
import type { Certificate, ListenerOptions, PortOptions, TlsMode } from "./listener_options.ts";
import { correctedReply } from "./replies.ts";
import { type Client, Session } from "./session.ts";
import { Tap } from "./tap.ts";

/** The open ports and their sessions. */
export interface Listener extends AsyncDisposable {
  /** The ports in the order of the options, with the numbers they got. */
  readonly ports: readonly number[];
  /** Sockets open now, those included that have not said EHLO. */
  readonly connections: number;
  /** New TLS sessions use it; those that exist go on. */
  useCertificate(certificate: Certificate): void;
  /** Stops accepting, tells idle sessions 421, lets transactions finish, ends what is left at the limit. */
  close(limitMs: number): Promise<void>;
}

/** Opens the ports; rejects when one of them cannot be had. */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const hall = new Hall(options);
  const fronts: Front[] = [];
  try {
    for (const port of options.ports) fronts.push(await hall.open(port));
  } catch (error) {
    await Promise.all(fronts.map((front) => front[Symbol.asyncDispose]()));
    await hall.close(0);
    throw error;
  }
  async function close(limitMs: number): Promise<void> {
    hall.isStopping = true;
    await Promise.all(fronts.map((front) => front.lull()));
    const closed = fronts.map((front) => front[Symbol.asyncDispose]());
    await hall.close(limitMs);
    await Promise.all(closed);
  }
  return {
    ports: fronts.map((front) => front.port),
    get connections() {
      return hall.counter.size;
    },
    useCertificate: (certificate) => hall.useCertificate(certificate),
    close,
    [Symbol.asyncDispose]: () => close(0),
  };
}

/** What all connections of a process have in common. */
class Hall {
  readonly options: ListenerOptions;
  readonly counter: SocketCounter;
  readonly connections = new Set<Connection>();
  /** Work that goes on after its connection, such as removing a spool file. */
  readonly #pending = new Crowd<Promise<void>>();
  readonly #servers: LibraryServer[] = [];
  readonly #timer: ReturnType<typeof setInterval>;
  isStopping = false;
  #emptied: (() => void) | undefined;

  constructor(options: ListenerOptions) {
    const { limits } = options;
    this.options = options;
    this.counter = new SocketCounter(limits.maxConnections, limits.maxConnectionsPerAddress);
    const shortest = Math.min(
      limits.idleMs,
      limits.writeMs,
      limits.sessionMs,
      limits.handshakeMs,
      limits.dataMs,
    );
    this.#timer = setInterval(() => this.#watch(), Math.min(1000, Math.max(10, shortest / 4)));
  }

  async open({ host, port, tls }: PortOptions): Promise<Front> {
    const { limits, trustedProxies, reusePort = false, observer } = this.options;
    const server = libraryServer(tls, this.options);
    this.#servers.push(server);
    return await openFront({
      host,
      port,
      reusePort,
      trustedProxies,
      counter: this.counter,
      proxyTimeoutMs: limits.handshakeMs,
      isPlain: tls !== "implicit",
      accept: (socket, origin, release) => {
        observer.connection("accepted");
        const connection = new Connection(server, socket, origin, tls, this, release);
        connection.init();
        if (this.isStopping) connection.stop();
      },
      reject: (reason) => observer.connection("rejected", reason),
    });
  }

  useCertificate(certificate: Certificate): void {
    for (const server of this.#servers) server.updateSecureContext({ ...certificate });
  }

  get limits(): ConnectionLimits {
    return this.options.limits;
  }

  get observer(): Observer {
    return this.options.observer;
  }

  leave(connection: Connection): void {
    this.connections.delete(connection);
    if (this.connections.size === 0) this.#emptied?.();
  }

  /** Keeps hold of work nobody waits for; a failure is logged. */
  follow(work: Promise<void>): void {
    const place = this.#pending.enter(work);
    const ended = () => this.#pending.leave(work, place);
    work.then(ended, (error: unknown) => {
      ended();
      this.options.log.error("cannot drop a message", { error });
    });
  }

  async close(limitMs: number): Promise<void> {
    this.isStopping = true;
    for (const connection of this.connections) connection.stop();
    const emptied = new Promise<void>((resolve) => this.#emptied = resolve);
    let limit: ReturnType<typeof setTimeout> | undefined;
    const reached = new Promise<void>((resolve) => limit = setTimeout(resolve, limitMs));
    if (this.connections.size > 0) await Promise.race([emptied, reached]);
    for (const connection of this.connections) connection.destroy();
    if (this.connections.size > 0) await emptied;
    clearInterval(this.#timer);
    await Promise.race([Promise.allSettled(this.#pending), reached]);
    clearTimeout(limit);
  }

  #watch(): void {
    const now = performance.now();
    for (const connection of this.connections) connection.watch(now);
  }
}

/** What the library is handed in place of a response to AUTH: a password may read like a command in base64. */
const anyResponse = Buffer.from("RESPONSE");
/** What we know and do not do; anything else is not known. */
const notImplemented: ReadonlySet<string> = new Set(
  "EXPN TURN ETRN ATRN BDAT BURL SEND SOML SAML STARTTLS XCLIENT XFORWARD WIZ SHELL KILL".split(" "),
);

/** After goodbye at most 64 KiB are read, and dropped, in this time. */
const drainMs = 20;

/** One client's connection: the library's command phase, our replies, our data phase. */
class Connection extends LibraryConnection implements Wire {
  readonly #hall: Hall;
  readonly #tls: TlsMode;
  readonly #session: Session;
  readonly #conversation: Conversation;
  readonly #rawSocket: Socket;
  readonly #tap: Tap;
  readonly #release: () => void;
  #verb = "";
  #response = "";
  #hasLeft = false;
  #drain: ReturnType<typeof setTimeout> | undefined;

  constructor(
    server: LibraryServer,
    socket: Socket,
    origin: Origin,
    tls: TlsMode,
    hall: Hall,
    release: () => void,
  ) {
    super(server, socket, origin);
    this.#hall = hall;
    this.#tls = tls;
    this.#rawSocket = socket;
    this.#tap = new Tap(socket);
    this.#release = release;
    this.#session = new Session(hall.options.session, this.id);
    const log = hall.options.log.with({ correlationId: this.id, remoteAddress: origin.remoteAddress });
    this.#conversation = new Conversation(hall, this.#session, this, log);
    // Without a listener an error of the socket would end the process.
    this.on("error", (error: Error) => log.debug("connection failed", { error }));
    hall.connections.add(this);
    hall.options.observer.session("opened");
  }

  /** Without the library's pause before the greeting. */
  override init(): void {
    this._setListeners(() => this.connectionReady());
  }

  get input(): Input {
    return this._parser as unknown as Input;
  }

  get client(): Client {
    const { name, standardName, version } = {
      standardName: "",
      ...this.tlsOptions || { name: "", version: "" },
    };
    return {
      address: this.remoteAddress,
      helo: this.hostNameAppearsAs || "",
      saidEhlo: this.openingCommand === "EHLO",
      ...(this.secure ? { tls: `${version} ${standardName || name}` } : {}),
    };
  }

  get mayLogIn(): boolean {
    return this.secure || this.#tls === "none";
  }

  get isHandshaking(): boolean {
    return this._upgrading;
  }

  get isBlocked(): boolean {
    return this._socket.writableNeedDrain;
  }

  write(text: string): void {
    if (!this._upgrading && this._socket.writable) this._socket.write(text);
  }

  destroy(): void {
    this._socket.destroy();
    this.#rawSocket.destroy();
  }

  expectResponse(handler: (line: string, done: () => void) => void): void {
    this._nextHandler = (_line, done) => {
      const response = this.#response;
      this.#response = "";
      handler(response, done);
    };
  }

  loggedIn(username: string): void {
    this.session.user = username;
  }

  stop(): void {
    this.#conversation.stop();
  }

  watch(now: number): void {
    // The library takes our listeners off the socket for STARTTLS, so a socket that dies just then is found here.
    if (this.#rawSocket.destroyed && !this._closed) this._onClose();
    else this.#conversation.watch(now);
  }

  override _createParser(): ReturnType<LibraryConnection["_createParser"]> {
    const input = new Input({
      command: (line, done) => this._onCommand(Buffer.from(line.buffer, line.byteOffset, line.length), done),
      dataEnded: (done) => this.#conversation.dataEnded(done),
      broken: (reply) => {
        this.#conversation.say(reply);
        this.#conversation.close();
      },
      idle: () => this.#conversation.flush(),
      ended: () => this.#conversation.close(),
    }, {
      open: () => this.#tap.open(),
      close: () => this.#tap.close(),
      bytesRead: () => this.#tap.bytesRead(),
    });
    return input as unknown as ReturnType<LibraryConnection["_createParser"]>;
  }

  override _sendGreeting(): void {
    super._sendGreeting();
    this.#conversation.flush();
  }

  /** Every sentence of the library passes here and gets the code it should have. */
  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    if (Array.isArray(data)) {
      const lines = this.mayLogIn ? data : data.filter((line) => !line.startsWith("AUTH "));
      return this.#conversation.answer({ code }, lines, "hello");
    }
    const text = data ?? "";
    if (context === false && code < 400) return this.#conversation.answer({ code }, [text], "hello");
    const isKnown = notImplemented.has(this.#verb) && text === "Error: command not recognized";
    if (isKnown) return this.#conversation.say("command_not_implemented");
    const corrected = correctedReply(code, text);
    // Replies to HELO and EHLO have no enhanced code (RFC 2034 section 3).
    const reply = context === false ? { code: corrected.reply.code } : corrected.reply;
    const needsTls = corrected.reason === "authentication_required" && !this.mayLogIn;
    // RFC 3207 section 4: AUTH is not offered yet.
    const sentence = needsTls ? "Must issue a STARTTLS command first" : corrected.text;
    this.#conversation.answer(reply, [sentence], corrected.reason);
  }

  override _onCommand(command: Buffer, callback: () => void = () => {}): void {
    if (this._upgrading) return callback();
    const space = command.indexOf(32);
    this.#verb = command.toString("latin1", 0, space < 0 ? command.length : space).toUpperCase();
    const isResponse = this._nextHandler !== false;
    if (!this.#conversation.admit(this.#verb, command.length, isResponse)) return callback();
    // The library's own limit is never reset, for messages do not end with it; ours is `max_errors`.
    this._unrecognizedCommands = 0;
    if (!isResponse) return super._onCommand(command, callback);
    this.#response = command.toString();
    super._onCommand(anyResponse, callback);
  }

  override handler_AUTH(command: Buffer, callback: () => void): void {
    this.#conversation.auth(command.toString(), callback);
  }

  override handler_MAIL(command: Buffer, callback: () => void): void {
    this.#conversation.mail(command, callback);
  }

  override handler_RCPT(command: Buffer, callback: () => void): void {
    this.#conversation.rcpt(command, callback);
  }

  override handler_DATA(command: Buffer, callback: () => void): void {
    this.#conversation.data(command, callback);
  }

  override _resetSession(): void {
    super._resetSession();
    this.#session.reset();
  }

  override upgrade(callback: () => void, secureCallback?: () => void): void {
    this.#conversation.flush();
    this.#session.logOut();
    // A client that leaves in the middle of the handshake is gone; afterwards it may close its side (see onSecure).
    this.#rawSocket.allowHalfOpen = false;
    this.#tap.open();
    super.upgrade(callback, () => {
      secureCallback?.();
      this.#tap.freeTaken();
      this.#conversation.secured();
    });
  }

  override close(): void {
    this.#conversation.close();
    if (!this._closing && !this._upgrading) this.#drainSlowly(this._socket);
    super.close();
  }

  /** The client's end must still be seen; whoever goes on sending instead is read now and then, for nothing. */
  #drainSlowly(socket: Socket): void {
    this.#tap.open();
    socket.on("data", () => {
      this.#tap.close();
      clearTimeout(this.#drain);
      this.#drain = setTimeout(() => this.#tap.open(), drainMs).unref();
    });
  }

  override _onClose(): void {
    super._onClose();
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    clearTimeout(this.#drain);
    this.#conversation.left();
    this.#session.end();
    this.#release();
    this.#hall.options.observer.session("closed");
    this.#hall.leave(this);
  }

  /** Deadlines are kept by `watch`, which also sees what the library's timer cannot. */
  override _armTimeout(): void {}
}
