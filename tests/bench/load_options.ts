import { parseArgs } from "node:util";

/** How the load generator meets TLS. */
export type LoadTls = "starttls" | "implicit" | "none";

/** What one run of the load generator does; counts are for the whole run unless said. */
export interface LoadOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: LoadTls;
  /** Empty: no AUTH. */
  readonly user: string;
  readonly password: string;
  readonly sessions: number;
  readonly messagesPerConnection: number;
  /** The run ends after this many messages; 0 is no limit of that kind. */
  readonly total: number;
  /** The run ends after this many seconds; 0 is no limit of that kind. */
  readonly seconds: number;
  /** Bytes of a message, headers included, before dot-stuffing and without the closing dot. */
  readonly size: number;
  readonly recipients: number;
  readonly from: string;
  readonly toDomain: string;
  /** The last so many wait until standard input ends. */
  readonly keep: number;
  /** Messages a second, sent at their due times whatever the answers do; 0 is as fast as the answers come. */
  readonly rate: number;
  /** Connections opened besides, greeted and then left idle until the end. */
  readonly idle: number;
  readonly pipelining: boolean;
  /** Acknowledged ids are appended here; `.doubtful`, `.refused` and `.resent` beside it take the others. */
  readonly idsFile: string;
  /** Sends a message again, unchanged, until it is acknowledged or `giveUpSeconds` have passed. */
  readonly retry: boolean;
  readonly giveUpSeconds: number;
  /** A reply that takes longer ends the connection. */
  readonly timeoutSeconds: number;
  /** Acknowledged messages are also counted per slice of this many seconds. */
  readonly sliceSeconds: number;
  readonly processes: number;
  /** Begins every id of this run: eight letters or digits. */
  readonly run: string;
}

const flags = {
  host: { type: "string", default: "127.0.0.1" },
  port: { type: "string" },
  tls: { type: "string", default: "starttls" },
  user: { type: "string", default: "dev" },
  password: { type: "string", default: "dev" },
  sessions: { type: "string", default: "20" },
  "per-connection": { type: "string", default: "100" },
  total: { type: "string", default: "0" },
  seconds: { type: "string", default: "0" },
  size: { type: "string", default: "10240" },
  recipients: { type: "string", default: "1" },
  from: { type: "string", default: "bench@example.com" },
  "to-domain": { type: "string", default: "example.net" },
  keep: { type: "string", default: "0" },
  rate: { type: "string", default: "0" },
  idle: { type: "string", default: "0" },
  pipelining: { type: "boolean", default: false },
  "ids-file": { type: "string", default: "" },
  retry: { type: "boolean", default: false },
  "give-up": { type: "string", default: "300" },
  timeout: { type: "string", default: "60" },
  slice: { type: "string", default: "60" },
  processes: { type: "string", default: "1" },
  run: { type: "string" },
} as const;

/** Reads the command line; throws an error that names the flag at fault. */
export function parseLoadOptions(args: readonly string[]): LoadOptions {
  const { values } = parseArgs({ args: [...args], options: flags, strict: true });
  const options: LoadOptions = {
    host: values.host,
    port: wholeNumber("port", values.port, 1),
    tls: oneOf("tls", values.tls),
    user: values.user,
    password: values.password,
    sessions: wholeNumber("sessions", values.sessions, 1),
    messagesPerConnection: wholeNumber("per-connection", values["per-connection"], 1),
    total: wholeNumber("total", values.total, 0),
    seconds: wholeNumber("seconds", values.seconds, 0),
    size: wholeNumber("size", values.size, 500),
    recipients: wholeNumber("recipients", values.recipients, 1),
    from: values.from,
    toDomain: values["to-domain"],
    keep: wholeNumber("keep", values.keep, 0),
    rate: wholeNumber("rate", values.rate, 0),
    idle: wholeNumber("idle", values.idle, 0),
    pipelining: values.pipelining,
    idsFile: values["ids-file"],
    retry: values.retry,
    giveUpSeconds: wholeNumber("give-up", values["give-up"], 1),
    timeoutSeconds: wholeNumber("timeout", values.timeout, 1),
    sliceSeconds: wholeNumber("slice", values.slice, 1),
    processes: wholeNumber("processes", values.processes, 1),
    run: runName(values.run ?? newRunName()),
  };
  if (options.total === 0 && options.seconds === 0) {
    throw new TypeError("Cannot run without an end: give --total or --seconds");
  }
  if (options.keep > 0 && (options.keep > options.total || options.processes > 1)) {
    throw new TypeError("Cannot keep messages back: give a --total above --keep, and one process");
  }
  return options;
}

/** A run name that no other run is likely to have. */
export function newRunName(): string {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => (byte % 36).toString(36)).join("");
}

/** The arguments that make another process do its share of `options`; shares add up to the whole. */
export function shareArguments(options: LoadOptions, index: number): string[] {
  const share = (whole: number) =>
    Math.floor(whole * (index + 1) / options.processes) - Math.floor(whole * index / options.processes);
  const own: Record<string, string | number> = {
    host: options.host,
    port: options.port,
    tls: options.tls,
    user: options.user,
    password: options.password,
    sessions: share(options.sessions),
    "per-connection": options.messagesPerConnection,
    total: share(options.total),
    seconds: options.seconds,
    size: options.size,
    recipients: options.recipients,
    from: options.from,
    "to-domain": options.toDomain,
    rate: share(options.rate),
    idle: share(options.idle),
    "ids-file": options.idsFile,
    "give-up": options.giveUpSeconds,
    timeout: options.timeoutSeconds,
    slice: options.sliceSeconds,
    run: options.run.slice(0, 7) + index.toString(36),
  };
  const args = Object.entries(own).map(([flag, value]) => `--${flag}=${value}`);
  if (options.pipelining) args.push("--pipelining");
  if (options.retry) args.push("--retry");
  return args;
}

function wholeNumber(flag: string, text: string | undefined, least: number): number {
  const value = Number(text);
  if (text === undefined || !Number.isSafeInteger(value) || value < least) {
    throw new TypeError(`Cannot use --${flag}: ${text} is not a whole number of at least ${least}`);
  }
  return value;
}

function oneOf(flag: string, text: string): LoadTls {
  if (text === "starttls" || text === "implicit" || text === "none") return text;
  throw new TypeError(`Cannot use --${flag}: ${text} is none of starttls, implicit, none`);
}

function runName(text: string): string {
  if (/^[0-9a-z]{8}$/.test(text)) return text;
  throw new TypeError(`Cannot use --run: ${text} is not eight lower-case letters or digits`);
}
