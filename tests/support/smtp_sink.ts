// An SMTP receiver of its own: it shares no code with the client and the listener that it checks.
// As a program: --port N --count-header NAME --report-file FILE. It prints {"listening":port}, then one JSON line of
// counts for every line on standard input, appends {"id","to"} per mail to the file, and ends when the input does.
import { Buffer } from "node:buffer";
import { appendFileSync, writeSync } from "node:fs";
import net from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import tls from "node:tls";
import { parseArgs } from "node:util";
import { SinkConversation } from "./smtp_sink_conversation.ts";
import type { SinkMail, SinkRules, SinkStep } from "./smtp_sink_conversation.ts";

export type { SinkAction, SinkMail, SinkStep } from "./smtp_sink_conversation.ts";

/** How a sink behaves; without options it takes everything over plain TCP and keeps it. */
export interface SinkOptions extends Partial<SinkRules> {
  readonly host?: string;
  readonly port?: number;
  /** With a certificate STARTTLS is offered, or TLS begins at once. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly isImplicit?: boolean };
  /** What becomes of a mail that was answered 250; kept in `mails` when absent. */
  readonly onMail?: (mail: SinkMail) => void;
}

/** A running sink; disposing drops every connection. */
export class SmtpSink implements AsyncDisposable {
  /** Every mail answered 250, in order, unless `onMail` takes them. */
  readonly mails: SinkMail[] = [];
  /** Every step that a client took, for looking at afterwards. */
  readonly steps: SinkStep[] = [];
  /** Connections since the start. */
  connections = 0;
  readonly #options: SinkOptions;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  private constructor(options: SinkOptions) {
    this.#options = options;
    this.#server = net.createServer((socket) => this.#accept(socket));
  }

  /** Listens on loopback, on any free port unless one is named. */
  static async open(options: SinkOptions = {}): Promise<SmtpSink> {
    const sink = new SmtpSink(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    sink.#server.once("error", reject);
    sink.#server.listen(options.port ?? 0, options.host ?? "127.0.0.1", resolve);
    await promise;
    return sink;
  }

  /** Where it listens. */
  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("The sink does not listen");
    return address.port;
  }

  /** Connections open now. */
  get open(): number {
    return this.#sockets.size;
  }

  /** Drops every open connection and goes on listening. */
  dropAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    this.dropAll();
    await closed.promise;
  }

  #accept(plain: net.Socket): void {
    const connection = ++this.connections;
    this.#sockets.add(plain);
    plain.setNoDelay(true);
    plain.on("error", () => plain.destroy());
    plain.on("close", () => this.#sockets.delete(plain));
    const secure = this.#options.tls;
    let current = plain;
    const conversation = new SinkConversation(connection, {
      ...this.#options,
      offersTls: secure !== undefined,
    }, {
      write: (text) => current.write(text, "latin1"),
      drop: () => plain.destroy(),
      end: () => current.end(),
      pause: () => current.pause(),
      startTls: () => current = this.#startTls(plain, conversation),
      later: (ms, work) => this.#later(ms, work),
      step: (step) => this.#options.onMail === undefined && this.steps.push(step),
      mail: (mail) => this.#options.onMail === undefined ? this.mails.push(mail) : this.#options.onMail(mail),
    });
    if (secure?.isImplicit) {
      current = this.#startTls(plain, conversation);
      conversation.isSecure = true;
    } else plain.on("data", (chunk: Buffer) => conversation.receive(chunk));
    conversation.begin();
  }

  #startTls(plain: net.Socket, conversation: SinkConversation): net.Socket {
    plain.removeAllListeners("data");
    plain.pause();
    const secured = new tls.TLSSocket(plain, { isServer: true, ...this.#options.tls });
    secured.on("error", () => plain.destroy());
    secured.on("data", (chunk: Buffer) => conversation.receive(chunk));
    return secured;
  }

  #later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
  }
}

/** What the program prints about what it took. */
export interface SinkCounts {
  readonly messages: number;
  readonly recipients: number;
  /** Different values of the counted header. */
  readonly ids: number;
  /** Messages beyond the first of each id. */
  readonly duplicates: number;
  readonly withoutId: number;
}

/** Counts messages by a header's value; the file, when there is one, gets a line for each. */
export class SinkTally {
  readonly ids = new Set<string>();
  readonly #pattern: RegExp;
  readonly #lines: string[] = [];
  #messages = 0;
  #recipients = 0;
  #withoutId = 0;

  constructor(header: string) {
    this.#pattern = new RegExp(`^${header}:[ \\t]*(\\S+)`, "im");
  }

  /** Counts one mail. */
  add(mail: SinkMail): void {
    const { bytes } = mail;
    const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 16_384)).toString(
      "latin1",
    );
    const id = this.#pattern.exec(head)?.[1];
    this.#messages++;
    this.#recipients += mail.to.length;
    if (id === undefined) this.#withoutId++;
    else this.ids.add(id);
    this.#lines.push(JSON.stringify({ id: id ?? null, to: mail.to }));
  }

  /** The lines added since the last time. */
  takeLines(): string {
    return this.#lines.splice(0).map((line) => `${line}\n`).join("");
  }

  /** What was counted up to now. */
  get counts(): SinkCounts {
    return {
      messages: this.#messages,
      recipients: this.#recipients,
      ids: this.ids.size,
      duplicates: this.#messages - this.#withoutId - this.ids.size,
      withoutId: this.#withoutId,
    };
  }
}

async function runProgram(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      port: { type: "string", default: "0" },
      "count-header": { type: "string", default: "X-Test-Id" },
      "report-file": { type: "string" },
    },
  });
  const tally = new SinkTally(values["count-header"]);
  const file = values["report-file"];
  const report = () => file === undefined ? tally.takeLines() : appendFileSync(file, tally.takeLines());
  await using sink = await SmtpSink.open({
    port: Number(values.port),
    keepBytes: 16_384,
    onMail: (mail) => tally.add(mail),
  });
  const timer = setInterval(report, 100);
  writeSync(1, `${JSON.stringify({ listening: sink.port })}\n`);
  for await (const _line of createInterface({ input: process.stdin })) {
    report();
    writeSync(1, `${JSON.stringify(tally.counts)}\n`);
  }
  clearInterval(timer);
  report();
}

if (import.meta.main) await runProgram(process.argv.slice(2));
