import { ConnectionLost, ConnectionRefused, LoadConnection, type Reply } from "./load_connection.ts";
import type { IdFiles } from "./load_ids.ts";
import type { MessageTemplate } from "./load_message.ts";
import type { LoadOptions } from "./load_options.ts";
import type { LoadTally } from "./load_tally.ts";
import type { LoadWork, Ticket } from "./load_work.ts";

/** How one attempt to send a message ended. */
type Attempt = "acked" | "refused" | "deferred" | "doubtful" | "unsent";

const firstBackoffMs = 50;
const longestBackoffMs = 1_000;

/** One client of many: connects, sends messages one after another, connects again. */
export class LoadSession {
  readonly #options: LoadOptions;
  readonly #work: LoadWork;
  readonly #tally: LoadTally;
  readonly #ids: IdFiles;
  readonly #template: MessageTemplate;
  readonly #envelope: readonly string[];
  #connection: LoadConnection | undefined;
  #sentHere = 0;
  #backoffMs = firstBackoffMs;

  constructor(
    parts: {
      options: LoadOptions;
      work: LoadWork;
      tally: LoadTally;
      ids: IdFiles;
      template: MessageTemplate;
    },
  ) {
    this.#options = parts.options;
    this.#work = parts.work;
    this.#tally = parts.tally;
    this.#ids = parts.ids;
    this.#template = parts.template;
    const recipients = Array.from(
      { length: parts.options.recipients },
      (_, index) => `RCPT TO:<user${index}@${parts.options.toDomain}>\r\n`,
    );
    this.#envelope = [`MAIL FROM:<${parts.options.from}>\r\n`, ...recipients, "DATA\r\n"];
  }

  /** Works until no message is left. */
  async run(): Promise<void> {
    for (let ticket = await this.#work.take(); ticket !== undefined; ticket = await this.#work.take()) {
      await this.#send(ticket);
      if (this.#sentHere >= this.#options.messagesPerConnection) await this.#leave();
    }
    await this.#leave();
  }

  /** Ends a connection whose oldest command has waited since before `limit`. */
  expire(limit: number): void {
    const since = this.#connection?.waitingSince;
    if (since !== undefined && since < limit) this.#connection?.close("timed out");
  }

  async #send(ticket: Ticket): Promise<void> {
    const id = this.#template.stamp(ticket.sequence);
    const giveUpAt = performance.now() + this.#options.giveUpSeconds * 1_000;
    let sent = 0;
    for (;;) {
      const attempt = await this.#attempt(ticket);
      if (attempt !== "unsent") sent++;
      if (sent === 2 && attempt !== "unsent") this.#ids.add("resent", id), this.#tally.resent++;
      if (attempt === "acked") return this.#ids.add("acked", id);
      const mayTryAgain = this.#options.retry && attempt !== "refused" && performance.now() < giveUpAt;
      if (!mayTryAgain) return this.#giveUp(id, attempt === "doubtful" || (attempt === "unsent" && sent > 0));
      await this.#pause();
    }
  }

  #giveUp(id: string, isDoubtful: boolean): void {
    this.#ids.add(isDoubtful ? "doubtful" : "refused", id);
    isDoubtful ? this.#tally.doubtful++ : this.#tally.refused++;
  }

  async #attempt(ticket: Ticket): Promise<Attempt> {
    let dotAt = 0;
    try {
      this.#connection ??= await this.#connect();
      const connection = this.#connection;
      this.#sentHere++;
      const mailAt = performance.now();
      if (this.#options.rate !== 0) this.#tally.late(mailAt - ticket.dueAt);
      const objection = await this.#offer(connection);
      if (objection !== undefined) return await this.#objected(objection);
      dotAt = await this.#writeMessage(connection);
      const reply = await connection.reply();
      if (reply.code !== 250) return await this.#objected(reply);
      this.#tally.ack(performance.now(), mailAt, dotAt);
      this.#backoffMs = firstBackoffMs;
      return "acked";
    } catch (error) {
      this.#disconnected(error);
      return dotAt === 0 ? "unsent" : "doubtful";
    }
  }

  async #connect(): Promise<LoadConnection> {
    this.#sentHere = 0;
    this.#tally.connections++;
    return await LoadConnection.open(this.#options);
  }

  /** MAIL, RCPT and DATA; answers the reply that stands in the way, if any. */
  async #offer(connection: LoadConnection): Promise<Reply | undefined> {
    if (this.#options.pipelining) {
      const first = connection.command(this.#envelope.join(""));
      const rest = this.#envelope.slice(1).map(() => connection.reply());
      const replies = await Promise.all([first, ...rest]);
      const objection = replies.find((reply) => reply.code >= 400);
      // RFC 2920 section 3.1: a DATA that was accepted all the same must be ended.
      if (objection !== undefined && replies.at(-1)?.code === 354) await connection.command("\r\n.\r\n");
      return objection;
    }
    for (const line of this.#envelope) {
      const reply = await connection.command(line);
      if (reply.code >= 400) return reply;
    }
    return undefined;
  }

  /** Answers when the piece that ends with the closing dot was handed to the socket. */
  async #writeMessage(connection: LoadConnection): Promise<number> {
    let dotAt = 0;
    for (const piece of this.#template.pieces) {
      dotAt = performance.now();
      const drained = connection.write(piece);
      if (drained !== undefined && piece !== this.#template.pieces.at(-1)) await drained;
    }
    return dotAt;
  }

  async #objected(reply: Reply): Promise<Attempt> {
    this.#tally.error(nameOf(reply));
    if (reply.code === 421) this.#drop();
    else await this.#connection?.command("RSET\r\n");
    return reply.code < 500 ? "deferred" : "refused";
  }

  #disconnected(error: unknown): void {
    this.#drop();
    if (error instanceof ConnectionRefused) this.#tally.error(nameOf(error.reply));
    else if (error instanceof ConnectionLost) this.#tally.error(error.message);
    else throw error;
  }

  #drop(): void {
    this.#connection?.close();
    this.#connection = undefined;
  }

  async #leave(): Promise<void> {
    try {
      await this.#connection?.quit();
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      this.#tally.error(`at QUIT: ${error.message}`);
    }
    this.#drop();
  }

  async #pause(): Promise<void> {
    const ms = this.#backoffMs;
    this.#backoffMs = Math.min(2 * ms, longestBackoffMs);
    await new Promise((resolve) => setTimeout(resolve, ms));
  }
}

function nameOf(reply: Reply): string {
  const enhanced = /^[245]\.\d{1,3}\.\d{1,3}/.exec(reply.text)?.[0];
  return enhanced === undefined ? String(reply.code) : `${reply.code} ${enhanced}`;
}
