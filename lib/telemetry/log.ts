import { pino } from "pino";
import type { LogFields, LogLevel } from "./log_fields.ts";
import { writableFields } from "./log_fields.ts";
import type { Log } from "./log_fields.ts";
import type { LogStream } from "./log_outputs.ts";
import { asText, openRotatingFile } from "./log_outputs.ts";

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
}

/** A log with its output; disposing writes what is still in memory, later lines are dropped. */
export interface OpenedLog extends Log, AsyncDisposable {}

/** Bytes that may wait for a slow output; lines above are dropped rather than kept in memory. */
const maxWaitingBytes = 16 * 1024 * 1024;

/** Lines of a moment share one write: a write for each costs more than making the line. */
const gatherMs = 20;
const gatherBytes = 64 * 1024;

/** Opens the log of one process. Lines are written as they come, in batches while a write is in flight. */
export async function openLog(options: LogOptions): Promise<OpenedLog> {
  if (options.output === "cloudwatch") {
    throw new Error("Cannot open the log: cloudwatch is not available yet");
  }
  const stream = options.output === "file"
    ? await openRotatingFile({ ...options, maxWaitingBytes })
    : pino.destination({ dest: 1, sync: false, maxLength: maxWaitingBytes });
  const output = new Output(stream, options.format);
  const logger = pino({
    level: options.level,
    messageKey: "message",
    base: { service: options.service, instance: options.instance },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
    serializers: {},
  }, output);
  const log = new PinoLog(logger);
  return Object.assign(log, { [Symbol.asyncDispose]: () => output.close() });
}

class PinoLog implements Log {
  readonly #logger: pino.Logger;

  constructor(logger: pino.Logger) {
    this.#logger = logger;
  }

  debug(sentence: string, fields: LogFields = {}): void {
    if (this.#logger.isLevelEnabled("debug")) this.#logger.debug(writableFields(fields), sentence);
  }

  info(sentence: string, fields: LogFields = {}): void {
    if (this.#logger.isLevelEnabled("info")) this.#logger.info(writableFields(fields), sentence);
  }

  warn(sentence: string, fields: LogFields = {}): void {
    if (this.#logger.isLevelEnabled("warn")) this.#logger.warn(writableFields(fields), sentence);
  }

  error(sentence: string, fields: LogFields = {}): void {
    this.#logger.error(writableFields(fields), sentence);
  }

  with(fields: LogFields): Log {
    return new PinoLog(this.#logger.child(writableFields(fields)));
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

  constructor(stream: LogStream, format: "json" | "text") {
    this.#stream = stream;
    this.#format = format;
    stream.on("error", this.#complain);
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
