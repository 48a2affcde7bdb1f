import { withoutKeys } from "../../lib/api_keys/api_key.ts";
import { Refusal } from "../../lib/refusal.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { CommandTrace } from "./command_trace.ts";
import { CommandError, parseMail, parseRcpt } from "./commands.ts";
import type { Input } from "./input.ts";
import type { Observer } from "./intake.ts";
import { formatReply, protocolReplies, type ProtocolReply, refusalReply, type Reply } from "./replies.ts";
import { decodeLoginName, decodeLoginPassword, decodePlain, type Login } from "./sasl.ts";
import type { Client, Draft, Session } from "./session.ts";

/** What one connection may cost; times in milliseconds. */
export interface ConnectionLimits {
  readonly maxConnections: number;
  /** IPv6 addresses count by /64. */
  readonly maxConnectionsPerAddress: number;
  /** Without a finished command, or in DATA without a byte: 421. */
  readonly idleMs: number;
  /** A connection older than this ends between two messages. */
  readonly sessionMs: number;
  /** A client that has not taken its replies for so long is cut off. */
  readonly writeMs: number;
  /** For the TLS handshake and for the PROXY header. */
  readonly handshakeMs: number;
  /** DATA may take this long plus the time its bytes take at `minBytesPerSecond`. */
  readonly dataMs: number;
  readonly minBytesPerSecond: number;
  /** Bytes of TLS's own for one message, above which they may not be the most of it. */
  readonly maxFraming: number;
  /** Commands without a message in between. */
  readonly maxCommands: number;
  /** Replies of 5yz without a message in between. */
  readonly maxErrors: number;
  readonly maxLoginFailures: number;
}

/** The connection under a conversation. */
export interface Wire {
  readonly input: Input;
  readonly client: Client;
  /** TLS is on, or this port does without. */
  readonly mayLogIn: boolean;
  readonly isHandshaking: boolean;
  /** More was written than the client has read. */
  readonly isBlocked: boolean;
  write(text: string): void;
  /** Says goodbye: what was written still arrives. */
  close(): void;
  destroy(): void;
  /** The next line is an answer to a challenge and no command. */
  expectResponse(handler: (line: string, done: () => void) => void): void;
  loggedIn(username: string): void;
}

/** What conversations share. */
export interface ConversationParts {
  readonly limits: ConnectionLimits;
  readonly observer: Observer;
  /** Takes care of work that goes on when the client has left. */
  follow(work: Promise<void>): void;
}

const longestCommand = 2048;
/** RFC 4954 section 4. */
const longestToken = 12_288;

/** What is said to one client: replies and their limits, AUTH, the three mail commands; never the library. */
export class Conversation {
  readonly #parts: ConversationParts;
  readonly #session: Session;
  readonly #wire: Wire;
  readonly #log: Log;
  readonly #left = new AbortController();
  readonly #trace = new CommandTrace();
  readonly #startedAt = performance.now();
  #out = "";
  #commands = 0;
  #errors = 0;
  #loginFailures = 0;
  #draft: Draft | undefined;
  #isStopping = false;
  #isClosed = false;
  /** When the client last finished a command, or in DATA last sent a byte. */
  #activeAt = this.#startedAt;
  /** Since when the client has not taken what was written, as far as it was seen. */
  #blockedAt: number | undefined;
  #dataBeganAt = 0;
  #dataBytesSeen = 0;

  constructor(parts: ConversationParts, session: Session, wire: Wire, log: Log) {
    this.#parts = parts;
    this.#session = session;
    this.#wire = wire;
    this.#log = log;
  }

  /** Adds a reply to those that are written together; counts errors; 421 closes. */
  answer(reply: Reply, lines: readonly string[], reason: string): void {
    if (this.#isClosed) return;
    this.#out += formatReply(reply, lines);
    if (reply.code < 400) return;
    const text = lines[0] ?? "";
    const { identity, sender, correlationId } = this.#session;
    const step = this.#trace.refused({ reason, reply, text, identity, sender, correlationId }, this.#wire);
    this.#parts.observer.refused(reason, step);
    this.#log.debug("command refused", { code: reply.code, reason, reply: text });
    if (reply.code === 421) return this.close();
    if (reply.code >= 500 && ++this.#errors >= this.#parts.limits.maxErrors) this.#tooMany("errors");
  }

  /** A row of the protocol's own replies. */
  say(row: ProtocolReply, text: string = protocolReplies[row].text): void {
    this.answer(protocolReplies[row], [text], row);
  }

  /** Writes the replies gathered so far, in one piece. */
  flush(): void {
    if (this.#out === "") return;
    const text = this.#out;
    this.#out = "";
    this.#wire.write(text);
  }

  /** Says goodbye and drops a message that is not complete. */
  close(): void {
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
    this.#abandon();
    this.#wire.close();
  }

  /** The client is gone. */
  left(): void {
    this.#isClosed = true;
    this.#abandon();
  }

  /** Whether a command may go on; otherwise it has been answered. */
  admit(verb: string, length: number, isResponse: boolean): boolean {
    this.#activeAt = performance.now();
    if (!isResponse) this.#trace.begin(verb);
    if (this.#isStopping && !this.#session.isInTransaction && verb !== "QUIT") {
      this.#refuse(new Refusal("shutting_down", "Server is shutting down"));
      return false;
    }
    if (++this.#commands > this.#parts.limits.maxCommands) {
      this.#tooMany("commands");
      return false;
    }
    if (length > longestCommand && !isResponse && verb !== "AUTH") {
      this.say("line_too_long");
      return false;
    }
    return true;
  }

  /** AUTH PLAIN and AUTH LOGIN (RFC 4954), each with and without an initial response. */
  auth(line: string, done: () => void): void {
    const [, mechanism = "", initial, more] = line.trim().split(/\s+/);
    this.#perform(() => {
      if (!this.#wire.mayLogIn) {
        throw new Refusal("encryption_required", "Encryption required: issue STARTTLS first");
      }
      if (this.#session.identity !== undefined) {
        throw new Refusal("already_authenticated", "Already authenticated");
      }
      if (mechanism === "" || more !== undefined) {
        throw new CommandError("arguments_invalid", "Syntax: AUTH mechanism [initial response]");
      }
      switch (mechanism.toUpperCase()) {
        case "PLAIN":
          this.#trace.authBy("PLAIN");
          return this.#response(initial, "", (token) => this.#logIn(decodePlain(token)));
        case "LOGIN":
          this.#trace.authBy("LOGIN");
          return this.#response(
            initial,
            "VXNlcm5hbWU6",
            (token) => this.#askPassword(decodeLoginName(token)),
          );
        default:
          throw new CommandError("mechanism_unknown", protocolReplies.mechanism_unknown.text);
      }
    }, done);
  }

  /** MAIL FROM. */
  mail(line: Uint8Array, done: () => void): void {
    this.#trace.given(line);
    this.#perform(async () => {
      if (this.#session.isInTransaction) {
        throw new CommandError("sequence_wrong", "MAIL was given: RSET comes first");
      }
      await this.#session.mailFrom(parseMail(line));
      this.say("sender_ok");
    }, done);
  }

  /** RCPT TO. */
  rcpt(line: Uint8Array, done: () => void): void {
    this.#trace.given(line);
    this.#perform(() => {
      this.#session.requireMail();
      this.#session.rcptTo(parseRcpt(line, this.#session.isUtf8));
      this.say("recipient_ok");
    }, done);
  }

  /** DATA. */
  data(line: Uint8Array, done: () => void): void {
    this.#perform(async () => {
      const hasArguments = line.subarray(4).some((byte) => byte !== 32);
      if (hasArguments) throw new CommandError("arguments_invalid", "DATA takes no arguments");
      const draft = await this.#session.openData(this.#wire.client, this.#left.signal);
      if (this.#isClosed) return await this.#session.abandon(draft);
      this.#draft = draft;
      this.#trace.dataOf(draft.envelope.mailFrom);
      this.#activeAt = this.#dataBeganAt = performance.now();
      this.#dataBytesSeen = 0;
      this.say("send_data");
      this.#wire.input.startData(draft.phase, this.#parts.limits.maxFraming);
    }, done);
  }

  /** The end mark has come: the message is taken or refused. */
  dataEnded(done: () => void): void {
    const draft = this.#draft;
    this.#draft = undefined;
    if (draft === undefined) return done();
    const isHopeless = draft.phase.isHopeless;
    const endedAt = performance.now();
    const settled = this.#settle(draft, endedAt).then(() => {
      if (isHopeless) this.close();
      this.#trace.end();
      if (this.#isStopping) this.#refuse(new Refusal("shutting_down", "Server is shutting down"));
      this.#activeAt = performance.now();
      done();
    });
    this.#parts.follow(settled);
  }

  /** From now on nothing new begins; an idle client is told at once. */
  stop(): void {
    this.#isStopping = true;
    if (this.#wire.isHandshaking) return; // what could be said now would be no TLS
    const isWorking = this.#draft !== undefined || this.#session.isInTransaction || this.#wire.input.isBusy;
    if (isWorking) return;
    this.#trace.end();
    this.#refuse(new Refusal("shutting_down", "Server is shutting down"));
  }

  /** The handshake is over. */
  secured(): void {
    if (this.#isStopping) this.stop();
  }

  /** Looks at the clock: idle, too old, too slow, not reading. */
  watch(now: number): void {
    const { idleMs, writeMs, sessionMs, handshakeMs } = this.#parts.limits;
    if (this.#isClosed) return;
    if (this.#wire.isHandshaking) {
      if (now - this.#startedAt > handshakeMs && now - this.#activeAt > handshakeMs) this.#wire.destroy();
      return;
    }
    if (this.#wire.isBlocked) {
      this.#blockedAt ??= now;
      if (now - this.#blockedAt > writeMs) this.#wire.destroy();
      return;
    }
    this.#blockedAt = undefined;
    // Replies are not held back while something slow goes on.
    this.flush();
    if (this.#draft !== undefined) return this.#watchData(this.#draft, now);
    if (this.#wire.input.isBusy) return;
    if (now - this.#activeAt > idleMs) return this.#expire("Idle for too long");
    if (now - this.#startedAt > sessionMs && !this.#session.isInTransaction) {
      this.#expire("Session is too old");
    }
  }

  #watchData({ phase }: Draft, now: number): void {
    const { idleMs, dataMs, minBytesPerSecond } = this.#parts.limits;
    if (phase.wireBytes > this.#dataBytesSeen || this.#wire.input.isHolding) this.#activeAt = now;
    this.#dataBytesSeen = phase.wireBytes;
    const allowedMs = dataMs + (phase.wireBytes * 1000) / minBytesPerSecond + this.#wire.input.heldMs;
    if (now - this.#activeAt > idleMs) this.#expire("Idle for too long");
    else if (!this.#wire.input.isHolding && now - this.#dataBeganAt > allowedMs) {
      this.#expire("Message comes too slowly");
    }
  }

  #expire(sentence: string): void {
    // Who has nothing under way loses a connection, and no mail.
    if (this.#draft === undefined && !this.#session.isInTransaction) this.#trace.end();
    this.#refuse(new Refusal("session_expired", sentence));
  }

  async #settle(draft: Draft, endedAt: number): Promise<void> {
    try {
      const { id, size } = await this.#session.accept(draft);
      this.#commands = this.#errors = 0;
      this.say("queued", `${protocolReplies.queued.text} ${id}`);
      const { group, user } = draft.envelope;
      this.#log.info("message accepted", { messageId: id, group, user, size });
      this.#parts.observer.accepted(size, performance.now() - endedAt);
    } catch (error) {
      this.#fail(error);
    }
  }

  #response(initial: string | undefined, challenge: string, use: (token: string) => Promise<void> | void) {
    if (initial !== undefined) return use(initial);
    this.answer(protocolReplies.challenge, [challenge], "challenge");
    this.#wire.expectResponse((line, done) => {
      this.#perform(() => {
        const token = line.trim();
        if (token.length > longestToken) {
          throw new CommandError("token_too_long", protocolReplies.token_too_long.text);
        }
        if (token === "*") throw new CommandError("authentication_cancelled", "Authentication cancelled");
        return use(token);
      }, done);
    });
  }

  #askPassword(username: string | undefined): void {
    if (username === undefined) throw new CommandError("base64_invalid", protocolReplies.base64_invalid.text);
    this.#response(undefined, "UGFzc3dvcmQ6", (token) => {
      const password = decodeLoginPassword(token);
      return this.#logIn(password === undefined ? undefined : { username, password });
    });
  }

  async #logIn(login: Login | undefined): Promise<void> {
    if (login === undefined) throw new CommandError("base64_invalid", protocolReplies.base64_invalid.text);
    const { observer, limits } = this.#parts;
    try {
      await this.#session.logIn(login, this.#wire.client.address);
    } catch (error) {
      observer.login("failure");
      this.#trace.failedFor(login.username);
      const code = error instanceof Refusal ? error.code : "fault";
      this.#log.info("authentication failed", { username: withoutKeys(login.username), reason: code });
      this.#fail(error);
      if (code === "credentials_wrong" && ++this.#loginFailures >= limits.maxLoginFailures) {
        this.#tooMany("failed authentications");
      }
      return;
    }
    observer.login("success");
    this.#wire.loggedIn(login.username);
    this.say("authenticated");
  }

  /** Runs one command; whatever it throws becomes its reply. */
  #perform(work: () => Promise<void> | void, done: () => void): void {
    let pending: Promise<void> | undefined;
    try {
      pending = work() ?? undefined;
    } catch (error) {
      this.#fail(error);
    }
    if (pending === undefined) return done();
    this.#parts.follow(pending.catch((error: unknown) => this.#fail(error)).then(done));
  }

  #fail(error: unknown): void {
    if (error instanceof Refusal) return this.#refuse(error);
    if (error instanceof CommandError) return this.say(error.reply, error.message);
    if (this.#isClosed && this.#left.signal.aborted && error === this.#left.signal.reason) return;
    this.#log.error("cannot serve an SMTP client", { error });
    this.say("fault");
  }

  #refuse(refusal: Refusal): void {
    const { reply, text } = refusalReply(refusal);
    // What is refused to a customer is what he will ask about.
    if (this.#session.identity !== undefined && !this.#isClosed) {
      this.#log.info("mail refused", { code: refusal.code, reply: text, user: this.#session.identity.user });
    }
    this.answer(reply, [text], refusal.code);
  }

  #tooMany(what: string): void {
    this.#refuse(new Refusal("too_many_errors", `Too many ${what}`));
  }

  #abandon(): void {
    this.#left.abort(leftReason);
    const draft = this.#draft;
    this.#draft = undefined;
    if (draft !== undefined) this.#parts.follow(this.#session.abandon(draft));
  }
}
const leftReason = new Error("The client has left");
