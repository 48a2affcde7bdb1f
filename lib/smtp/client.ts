import type { CallBounds } from "./channel.ts";
import type { SmtpFailure } from "./failure.ts";
import { wholeMessage } from "./message_bytes.ts";
import type { OutgoingMessage } from "./message_bytes.ts";
import { replyClass } from "./reply.ts";
import { ask, openSession } from "./session.ts";
import type { Session, SmtpTarget } from "./session.ts";
import { sendMessage } from "./transaction.ts";
import type { Envelope, TransactionResult } from "./transaction.ts";

/** An open, authenticated connection to one SMTP server; one message at a time. */
export class SmtpClient {
  readonly #session: Session;
  #sent = 0;

  private constructor(session: Session) {
    this.#session = session;
  }

  /** Connects and authenticates; throws `SmtpFailure`. */
  static async open(target: SmtpTarget, bounds: CallBounds): Promise<SmtpClient> {
    return new SmtpClient(await openSession(target, bounds));
  }

  /** What the server named in its answer to EHLO, upper case, with parameters. */
  get extensions(): ReadonlyMap<string, string> {
    return this.#session.extensions;
  }

  /** The largest message the server takes by its own word (RFC 1870); undefined when it names none. */
  get sizeLimit(): number | undefined {
    const limit = Number.parseInt(this.extensions.get("SIZE") ?? "", 10);
    return limit > 0 ? limit : undefined;
  }

  /** Transactions begun on this connection. */
  get sent(): number {
    return this.#sent;
  }

  /** Whether nothing more can be sent. */
  get isDead(): boolean {
    return this.#session.channel.isDead;
  }

  /** Sends one message; never throws for what the server or the network did. */
  async send(envelope: Envelope, message: OutgoingMessage, bounds: CallBounds): Promise<TransactionResult> {
    this.#sent++;
    return await sendMessage(this.#session, envelope, message, bounds);
  }

  /** Makes a connection usable after a transaction that did not end with an answer to its message. */
  async reset(bounds: CallBounds): Promise<void> {
    if (this.isDead) return;
    try {
      if (replyClass(await ask(this.#session.channel, "RSET", bounds)) !== 2) this.destroy();
    } catch {
      // What failed is the connection, and a dead connection is what `isDead` reports.
      this.destroy();
    }
  }

  /** Calls back when an idle connection breaks or the server speaks unasked; undefined ends that. */
  watch(onUnasked: (() => void) | undefined): void {
    this.#session.channel.onUnasked = onUnasked;
  }

  /** Says QUIT, waits a second at most for the answer, closes. */
  async quit(): Promise<void> {
    const bounds = { deadline: performance.now() + 1000, signal: neverAborted };
    try {
      if (!this.isDead) await ask(this.#session.channel, "QUIT", bounds);
    } catch {
      // A server that goes before it answers QUIT has done what was asked.
    }
    this.destroy();
    await this.#session.channel.closed;
  }

  /** Closes at once. */
  destroy(failure?: SmtpFailure): void {
    this.#session.channel.destroy(failure);
  }
}

const neverAborted = new AbortController().signal;

/** Sends one message in memory over a connection of its own; throws `SmtpFailure` when none could be opened. */
export async function sendOnce(
  target: SmtpTarget,
  envelope: Envelope,
  bytes: Uint8Array,
  options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<TransactionResult> {
  const bounds = {
    deadline: performance.now() + (options.timeoutMs ?? 60_000),
    signal: options.signal ?? neverAborted,
  };
  const message = wholeMessage(bytes, new Set());
  const client = await SmtpClient.open(target, bounds);
  try {
    return await client.send(envelope, message, bounds);
  } finally {
    await client.quit();
  }
}
