import { freePort } from "./ports.ts";
import type { FoundProgram } from "./debian_program.ts";
import { ensureRedis } from "./redis_program.ts";

/** How the server is to be set up; the defaults are a plain server that keeps everything in its AOF at once. */
export interface RedisOptions {
  readonly password?: string;
  /** Lines as in `redis.conf`, e.g. an ACL user. */
  readonly config?: readonly string[];
  /** PEM files for a second, encrypted port. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  readonly program?: FoundProgram;
}

/** A Redis server of one test's own, on 127.0.0.1, in a folder that goes away with it. */
export interface TestRedis extends AsyncDisposable {
  /** `127.0.0.1:<port>`. */
  readonly address: string;
  /** The encrypted port's address; empty without `tls`. */
  readonly tlsAddress: string;
  /** One command on a connection of its own, as the default user; throws what the server answers with an error. */
  command(...args: readonly string[]): Promise<unknown>;
  /** Stops the process where it is (SIGSTOP), and lets it go on. */
  pause(): void;
  resume(): void;
  /** Ends it at once (SIGKILL); `restart` starts it again on the same port with what its AOF holds. */
  kill(): Promise<void>;
  restart(): Promise<void>;
}

/** Starts a server and waits until it takes connections. */
export async function startRedis(options: RedisOptions = {}): Promise<TestRedis> {
  const program = options.program ?? await ensureRedis();
  const folder = await Deno.makeTempDir({ prefix: "smtp-proxy-redis-" });
  try {
    for (let tries = 1;; tries++) {
      const server = new Server(program, folder, options);
      try {
        await server.start();
        return server;
      } catch (error) {
        // Another process may have taken the port in between.
        if (tries === 3) throw error;
      }
    }
  } catch (error) {
    await Deno.remove(folder, { recursive: true });
    throw error;
  }
}

class Server implements TestRedis {
  readonly address: string;
  readonly tlsAddress: string;
  readonly #program: FoundProgram;
  readonly #folder: string;
  readonly #options: RedisOptions;
  readonly #port = freePort();
  readonly #tlsPort = freePort();
  #child: Deno.ChildProcess | undefined;
  #output: Promise<void> = Promise.resolve();

  constructor(program: FoundProgram, folder: string, options: RedisOptions) {
    this.#program = program;
    this.#folder = folder;
    this.#options = options;
    this.address = `127.0.0.1:${this.#port}`;
    this.tlsAddress = options.tls === undefined ? "" : `127.0.0.1:${this.#tlsPort}`;
  }

  async start(): Promise<void> {
    const file = `${this.#folder}/redis.conf`;
    await Deno.writeTextFile(file, this.#config().join("\n") + "\n");
    this.#child = new Deno.Command(this.#program.path, {
      args: [file],
      env: { ...this.#program.env },
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const ready = Promise.withResolvers<void>();
    this.#output = watch(this.#child.stdout, "Ready to accept connections", ready);
    await ready.promise;
  }

  restart(): Promise<void> {
    return this.start();
  }

  pause(): void {
    this.#child?.kill("SIGSTOP");
  }

  resume(): void {
    this.#child?.kill("SIGCONT");
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    child?.kill("SIGKILL");
    await child?.status;
    await this.#output;
  }

  async command(...args: readonly string[]): Promise<unknown> {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port: this.#port });
    const password = this.#options.password;
    if (password !== undefined) await ask(connection, ["AUTH", password]);
    return await ask(connection, args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.#folder, { recursive: true });
  }

  #config(): string[] {
    const { password, tls, config = [] } = this.#options;
    return [
      "bind 127.0.0.1",
      `port ${this.#port}`,
      `dir ${this.#folder}`,
      'save ""',
      "appendonly yes",
      "appendfsync always",
      "loglevel notice",
      ...(password === undefined ? [] : [`requirepass ${password}`]),
      ...(tls === undefined ? [] : [
        `tls-port ${this.#tlsPort}`,
        `tls-cert-file ${tls.certificate}`,
        `tls-key-file ${tls.key}`,
        "tls-auth-clients no",
      ]),
      ...config,
    ];
  }
}

async function watch(
  output: ReadableStream<Uint8Array>,
  sentence: string,
  ready: PromiseWithResolvers<void>,
): Promise<void> {
  let seen = "";
  for await (const text of output.pipeThrough(new TextDecoderStream())) {
    seen = (seen + text).slice(-4000);
    if (seen.includes(sentence)) ready.resolve();
  }
  ready.reject(new Error(`Cannot start Redis: ${seen.trim()}`));
}

/** One command in the Redis protocol (RESP2), and its answer. */
async function ask(connection: Deno.Conn, args: readonly string[]): Promise<unknown> {
  const encoder = new TextEncoder();
  const parts = args.map((arg) => `$${encoder.encode(arg).length}\r\n${arg}\r\n`);
  const bytes = encoder.encode(`*${args.length}\r\n${parts.join("")}`);
  for (let sent = 0; sent < bytes.length;) sent += await connection.write(bytes.subarray(sent));
  let text = "";
  const buffer = new Uint8Array(65536);
  for (;;) {
    const reply = parse(text, 0);
    if (reply !== undefined) {
      if (reply.value instanceof Error) throw reply.value;
      return reply.value;
    }
    const count = await connection.read(buffer);
    if (count === null) throw new Error("Cannot read an answer: Redis closed the connection");
    text += new TextDecoder().decode(buffer.subarray(0, count));
  }
}

interface Parsed {
  readonly value: unknown;
  readonly end: number;
}

/** An answer of plain ASCII, once it is there as a whole. */
function parse(text: string, start: number): Parsed | undefined {
  const line = text.indexOf("\r\n", start);
  if (line < 0) return undefined;
  const head = text.slice(start + 1, line);
  const end = line + 2;
  switch (text[start]) {
    case "+":
      return { value: head, end };
    case "-":
      return { value: new Error(head), end };
    case ":":
      return { value: Number(head), end };
    case "$":
      if (head === "-1") return { value: null, end };
      if (text.length < end + Number(head) + 2) return undefined;
      return { value: text.slice(end, end + Number(head)), end: end + Number(head) + 2 };
    default:
      return parseArray(text, Number(head), end);
  }
}

function parseArray(text: string, count: number, start: number): Parsed | undefined {
  if (count < 0) return { value: null, end: start };
  const items: unknown[] = [];
  let end = start;
  for (let index = 0; index < count; index++) {
    const item = parse(text, end);
    if (item === undefined) return undefined;
    items.push(item.value);
    end = item.end;
  }
  return { value: items, end };
}
