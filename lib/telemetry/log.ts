import { pino } from "pino";
import type { LogFields, LogLevel } from "./log_fields.ts";
import { writableFields } from "./log_fields.ts";
import type { Log } from "./log_fields.ts";
import type { LogStream } from "./log_outputs.ts";
import { asText, openRotatingFile } from "./log_outputs.ts";
import { openCloudWatch } from "./open_cloudwatch.ts";

/** Where lines go and which of them; the values of the `logging.*` settings. */
export interface LogOptions {
  /** Added to every line, so that lines of several processes can be told apart. */
  readonly service: string;
  readonly instance: number;
  readonly level: LogLevel;
  readonly format: "json" | "text";
  readonly output: "stdout" | "file" | "cloudwatch";
  readonly filePath: string;
  readonly maxSizeMb: number;
  /** Files kept, the current one included. */
  readonly maxFiles: number;
  readonly cwGroup: string;
  readonly cwStream: string;
  readonly cwRegion: string;
  readonly cwEndpoint: string;
  /** Names of mailboxes and places of clients are left out. */
  readonly redactAddresses: boolean;
  /** Told of lines that were not written because too many waited already. */
  readonly onDropped?: (count: number) => void;
}

/** A log with its output; disposing writes what is still in memory, later lines are dropped. */
export interface OpenedLog extends Log, AsyncDisposable {
  /** From now on; also for the logs that were made by `with`. */
  setLevel(level: LogLevel): void;
}

/** Bytes that may wait for a slow output; lines above are dropped rather than kept in memory. */
const maxWaitingBytes = 16 * 1024 * 1024;

/** Lines of a moment share one write: a write for each costs more than making the line. */
const gatherMs = 20;
const gatherBytes = 64 * 1024;

/** Opens the log of one process. Lines are written as they come, in batches while a write is in flight. */
export async function openLog(options: LogOptions): Promise<OpenedLog> {
  const output = new Output(await openStream(options), options);
  const logger = pino({
    // The level that counts is that of the rules: those of pino's children cannot be changed together.
    level: "debug",
    messageKey: "message",
    base: { service: options.service, instance: options.instance },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
    serializers: {},
  }, output);
  const rules = { least: severity[options.level], hidesAddresses: options.redactAddresses };
  return Object.assign(new PinoLog(logger, rules), {
    setLevel: (level: LogLevel) => rules.least = severity[level],
    [Symbol.asyncDispose]: () => output.close(),
  });
}

async function openStream(options: LogOptions): Promise<LogStream> {
  switch (options.output) {
    case "stdout":
      return pino.destination({ dest: 1, sync: false, maxLength: maxWaitingBytes });
    case "file":
      return await openRotatingFile({ ...options, maxWaitingBytes });
    case "cloudwatch":
      return openCloudWatch({ ...options, maxWaitingBytes, onDropped: options.onDropped ?? (() => {}) });
  }
}

const severity: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

interface Rules {
  least: number;
  readonly hidesAddresses: boolean;
}

class PinoLog implements Log {
  readonly #logger: pino.Logger;
  readonly #rules: Rules;

  constructor(logger: pino.Logger, rules: Rules) {
    this.#logger = logger;
    this.#rules = rules;
  }

  debug(sentence: string, fields: LogFields = {}): void {
    if (this.#rules.least <= severity.debug) this.#logger.debug(this.#written(fields), sentence);
  }

  info(sentence: string, fields: LogFields = {}): void {
    if (this.#rules.least <= severity.info) this.#logger.info(this.#written(fields), sentence);
  }

  warn(sentence: string, fields: LogFields = {}): void {
    if (this.#rules.least <= severity.warn) this.#logger.warn(this.#written(fields), sentence);
  }

  error(sentence: string, fields: LogFields = {}): void {
    this.#logger.error(this.#written(fields), sentence);
  }

  with(fields: LogFields): Log {
    return new PinoLog(this.#logger.child(this.#written(fields)), this.#rules);
  }

  #written(fields: LogFields): Record<string, unknown> {
    return writableFields(fields, this.#rules.hidesAddresses);
  }
}

/** Stands between pino and the stream, so that a stream that fails or is closed never fails its callers. */
class Output {
  readonly #stream: LogStream;
  readonly #format: "json" | "text";
  #closed = false;
  #failed = false;
  #waiting = "";
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(stream: LogStream, { format, onDropped }: Pick<LogOptions, "format" | "onDropped">) {
    this.#stream = stream;
    this.#format = format;
    stream.on("error", this.#complain);
    stream.on("drop", (text) => onDropped?.(String(text).split("\n").length - 1));
    // Deno.exit and uncaught errors leave no time for what is asynchronous.
    globalThis.addEventListener("unload", this.#flush);
  }

  write(line: string): void {
    if (this.#closed) return;
    this.#waiting += this.#format === "json" ? line : asText(line);
    if (this.#waiting.length >= gatherBytes) this.#pass();
    else this.#timer ??= unrefTimer(setTimeout(this.#pass, gatherMs));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#pass();
    this.#closed = true;
    globalThis.removeEventListener("unload", this.#flush);
    if (this.#failed) return this.#stream.destroy();
    await new Promise<void>((resolve) => {
      this.#stream.on("close", resolve);
      this.#stream.on("error", () => resolve());
      this.#stream.end();
    });
  }

  #pass = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting !== "") this.#stream.write(this.#waiting);
    this.#waiting = "";
  };

  #flush = (): void => {
    if (this.#closed || this.#failed) return;
    this.#pass();
    this.#stream.flushSync();
  };

  #complain = (error: unknown): void => {
    if (this.#failed) return;
    this.#failed = true;
    // The log cannot tell of its own failure, so the last resort is standard error, once.
    Deno.stderr.writeSync(new TextEncoder().encode(`Cannot write the log: ${error}\n`));
  };
}

function unrefTimer(timer: ReturnType<typeof setTimeout>): ReturnType<typeof setTimeout> {
  Deno.unrefTimer(timer);
  return timer;
}
