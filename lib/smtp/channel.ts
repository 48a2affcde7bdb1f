import type { Buffer } from "node:buffer";
import net from "node:net";
import tls from "node:tls";
import { type Alarm, clearAlarm, setAlarm } from "../alarms.ts";
import { SmtpFailure } from "./failure.ts";
import type { SmtpFailureCode } from "./failure.ts";
import { ReplyReader } from "./reply.ts";
import type { Reply } from "./reply.ts";

/** How far one call may go: its latest moment by `performance.now()` and who may end it early. */
export interface CallBounds {
  readonly deadline: number;
  /** Latest moment for the answer to a whole message where that is later: giving up then risks sending it twice. */
  readonly answerDeadline?: number;
  readonly signal: AbortSignal;
}

/** Whom to expect behind TLS. */
export interface TlsExpectation {
  /** Absent when the server is known by its address alone. */
  readonly servername?: string;
  readonly address: string;
  readonly verify: boolean;
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: string;
}

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (failure: SmtpFailure) => void;
  readonly alarm: Alarm;
}

/** A socket that speaks in commands and replies. After a failure every later call fails with the same one. */
export class Channel {
  #socket: net.Socket;
  #reader = new ReplyReader();
  #replies: Reply[] = [];
  #waiting: Waiting | undefined;
  #failure: SmtpFailure | undefined;
  #drained: (() => void) | undefined;
  #onFailure: ((failure: SmtpFailure) => void) | undefined;
  readonly #closed = Promise.withResolvers<void>();
  /** Called once when the connection breaks or the server speaks although nothing was asked. */
  onUnasked: (() => void) | undefined;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    this.#listen(socket);
  }

  /** Opens a TCP connection to an address (never a name); throws `SmtpFailure`. */
  static connect(address: string, port: number, limitMs: number, bounds: CallBounds): Promise<Channel> {
    const { promise, resolve, reject } = Promise.withResolvers<Channel>();
    const socket = net.connect({ host: address, port });
    const fail = (code: SmtpFailureCode, why: string, cause?: unknown) => {
      settle();
      socket.on("error", () => socket.destroy());
      socket.destroy();
      reject(
        new SmtpFailure(code, `Cannot connect to ${address} port ${port}: ${why}`, undefined, { cause }),
      );
    };
    const onError = (error: Error) => fail("connect_failed", error.message, error);
    const onAbort = () => fail("aborted", "the call was ended");
    const alarm = setAlarm(timeLeft(limitMs, bounds), () => fail("connect_timeout", "no answer in time"));
    const settle = () => {
      clearAlarm(alarm);
      bounds.signal.removeEventListener("abort", onAbort);
      socket.removeAllListeners();
    };
    socket.once("error", onError);
    socket.once("connect", () => {
      settle();
      resolve(new Channel(socket));
    });
    bounds.signal.addEventListener("abort", onAbort);
    if (bounds.signal.aborted) onAbort();
    return promise;
  }

  /** Our own end of the connection. */
  get localAddress(): string {
    return this.#socket.localAddress ?? "127.0.0.1";
  }

  /** Whether nothing more can be asked. */
  get isDead(): boolean {
    return this.#failure !== undefined;
  }

  /** Whether the server has said something that was not yet taken. */
  get hasReply(): boolean {
    return this.#replies.length > 0;
  }

  /** Resolves when the socket is gone. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Ends the channel with a failure when the call is aborted; the returned function takes that back. */
  bind(signal: AbortSignal): () => void {
    const onAbort = () => this.destroy(new SmtpFailure("aborted", "The call was ended"));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    return () => signal.removeEventListener("abort", onAbort);
  }

  /** The next reply, waiting at most `limitMs` and never past the deadline; a time-out ends the channel. */
  reply(limitMs: number, bounds: CallBounds): Promise<Reply> {
    const ready = this.#replies.shift();
    if (ready !== undefined) return Promise.resolve(ready);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const alarm = setAlarm(
      timeLeft(limitMs, bounds),
      () => this.destroy(new SmtpFailure("timeout", "The server did not answer in time")),
    );
    this.#waiting = { resolve, reject, alarm };
    return promise;
  }

  /** Hands bytes to the socket; false when it wants to be waited for. Does nothing on a dead channel. */
  write(bytes: Uint8Array | string): boolean {
    if (this.#failure !== undefined) return true;
    return this.#socket.write(bytes);
  }

  /** Resolves when the socket takes more, the server has spoken, or the channel is dead or too slow. */
  async drained(bounds: CallBounds): Promise<void> {
    if (this.#failure !== undefined || this.hasReply || !this.#socket.writableNeedDrain) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#drained = resolve;
    const alarm = setAlarm(
      timeLeft(Infinity, bounds),
      () => this.destroy(new SmtpFailure("timeout", "The server did not take the message in time")),
    );
    await promise;
    clearAlarm(alarm);
    this.#drained = undefined;
  }

  /** Goes over to TLS on the same socket; throws `SmtpFailure`. */
  secure(expected: TlsExpectation, limitMs: number, bounds: CallBounds): Promise<void> {
    if (this.#replies.length > 0 || this.#reader.isPartial) {
      // RFC 3207 section 5: what came before TLS may be an attacker's.
      this.destroy(new SmtpFailure("protocol_error", "The server spoke between STARTTLS and TLS"));
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const plain = this.#socket;
    plain.removeAllListeners("data");
    plain.removeAllListeners("end");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let secured: tls.TLSSocket;
    try {
      secured = tls.connect({
        socket: plain,
        host: expected.servername ?? expected.address,
        ...(expected.servername === undefined ? {} : { servername: expected.servername }),
        ...(expected.ca === undefined ? {} : { ca: [expected.ca] }),
        rejectUnauthorized: expected.verify,
        minVersion: "TLSv1.2",
      });
    } catch (error) {
      // Thrown for certificates and names that are none.
      this.destroy(
        new SmtpFailure("certificate_invalid", `TLS failed: ${String(error)}`, undefined, { cause: error }),
      );
      return Promise.reject(this.#failure);
    }
    this.#socket = secured;
    const alarm = setAlarm(
      timeLeft(limitMs, bounds),
      () => this.destroy(new SmtpFailure("timeout", "The TLS handshake did not end in time")),
    );
    this.#onFailure = (failure) => {
      clearAlarm(alarm);
      reject(failure);
    };
    this.#listen(secured, (error) => tlsFailure(error));
    secured.once("secureConnect", () => {
      clearAlarm(alarm);
      this.#onFailure = undefined;
      secured.removeAllListeners("error");
      secured.on("error", (error) => this.#lost(error));
      resolve();
    });
    return promise;
  }

  /** Drops the connection at once; what waits for a reply fails with the failure given. */
  destroy(failure = new SmtpFailure("connection_lost", "The connection was closed")): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    this.#socket.destroy();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) {
      clearAlarm(waiting.alarm);
      waiting.reject(failure);
    }
    this.#drained?.();
    this.#onFailure?.(failure);
    this.onUnasked?.();
  }

  #listen(socket: net.Socket, name: (error: Error) => SmtpFailure = connectionLost): void {
    socket.on("data", (piece: Buffer) => this.#receive(piece));
    socket.on("error", (error: Error) => this.destroy(name(error)));
    socket.on("end", () => this.#lost());
    socket.on("drain", () => this.#drained?.());
    socket.on("close", () => {
      this.#lost();
      this.#closed.resolve();
    });
  }

  #lost(error?: Error): void {
    this.destroy(connectionLost(error));
  }

  #receive(piece: Buffer): void {
    if (this.#failure !== undefined) return;
    try {
      for (const reply of this.#reader.push(piece)) this.#take(reply);
    } catch (error) {
      this.destroy(new SmtpFailure("protocol_error", String(error), undefined, { cause: error }));
    }
  }

  #take(reply: Reply): void {
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#replies.push(reply);
      this.#drained?.();
      this.onUnasked?.();
      return;
    }
    this.#waiting = undefined;
    clearAlarm(waiting.alarm);
    waiting.resolve(reply);
  }
}

function connectionLost(error?: Error): SmtpFailure {
  const why = error === undefined
    ? "The server closed the connection"
    : `The connection broke: ${error.message}`;
  return new SmtpFailure("connection_lost", why, undefined, { cause: error });
}

function tlsFailure(error: Error & { readonly code?: string }): SmtpFailure {
  const isCertificate = /CERT|ALTNAME|SELF_SIGNED|UNABLE_TO/.test(error.code ?? "") ||
    /certificate/i.test(error.message);
  const code = isCertificate ? "certificate_invalid" : "tls_failed";
  return new SmtpFailure(code, `TLS failed: ${error.message}`, undefined, { cause: error });
}

function timeLeft(limitMs: number, bounds: CallBounds): number {
  return Math.max(1, Math.min(limitMs, bounds.deadline - performance.now()));
}
