import { createServer, type Server, type Socket } from "node:net";
import { addressKey, type Cidr, cidrContains, normalAddress } from "../../lib/network/cidr.ts";
import { parseProxyHeader } from "./proxy_header.ts";
import { formatReply, refusalReplies } from "./replies.ts";

/** Where a connection comes from, also behind a proxy. */
export interface Origin {
  readonly remoteAddress: string;
  readonly remotePort: number;
}

/** One port and what becomes of its sockets. */
export interface FrontOptions {
  readonly host: string;
  readonly port: number;
  readonly counter: SocketCounter;
  /** Peers that must begin with a PROXY header; from anybody else such a header is no header. */
  readonly trustedProxies: readonly Cidr[];
  readonly proxyTimeoutMs: number;
  /** Whether a refusal can be told in clear text. */
  readonly isPlain: boolean;
  /** Several processes may listen on the port. */
  readonly reusePort: boolean;
  /** Takes the socket over; `release` must be called when the connection has ended. */
  accept(socket: Socket, origin: Origin, release: () => void): void;
  reject(reason: "limit" | "address_limit" | "proxy_header"): void;
}

/** Counts the sockets of a process, from the moment they are accepted: in all, and for each address (IPv6: each /64). */
export class SocketCounter {
  readonly #maxInAll: number;
  readonly #maxPerAddress: number;
  readonly #perAddress = new Map<string, number>();
  #inAll = 0;

  constructor(maxInAll: number, maxPerAddress: number) {
    this.#maxInAll = maxInAll;
    this.#maxPerAddress = maxPerAddress;
  }

  /** Sockets open now. */
  get size(): number {
    return this.#inAll;
  }

  /** Counts one more socket; undefined when there are too many, else what takes it off the count again. */
  admit(): (() => void) | undefined {
    if (this.#inAll >= this.#maxInAll) return undefined;
    this.#inAll++;
    return once(() => this.#inAll--);
  }

  /** Counts one more socket of an address; undefined when there are too many. */
  admitAddress(address: string): (() => void) | undefined {
    const key = addressKey(address);
    const count = this.#perAddress.get(key) ?? 0;
    if (count >= this.#maxPerAddress) return undefined;
    this.#perAddress.set(key, count + 1);
    return once(() => {
      const left = (this.#perAddress.get(key) ?? 1) - 1;
      if (left > 0) this.#perAddress.set(key, left);
      else this.#perAddress.delete(key);
    });
  }
}

/** An open port; closing it lets connections that were handed on live. */
export interface Front extends AsyncDisposable {
  readonly port: number;
  /**
   * Resolves when nobody has come for a moment, within a tenth of a second: whoever waits in the system's queue when the
   * port is closed is cut off without a word.
   */
  lull(): Promise<void>;
}

const lullMs = 2;
const longestLullMs = 100;

/** Listens; rejects when the port cannot be had. */
export async function openFront(options: FrontOptions): Promise<Front> {
  const waiting = new Set<Socket>();
  let taken = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    taken++;
    waiting.add(socket);
    socket.once("close", () => waiting.delete(socket));
    welcome(socket, options, () => waiting.delete(socket));
  });
  const port = await listen(server, options);
  return {
    port,
    async lull() {
      const end = performance.now() + longestLullMs;
      for (let seen = -1; seen !== taken && performance.now() < end;) {
        seen = taken;
        // The last looks follow each other at once, so that next to no time is left until the port is closed.
        for (const ms of [lullMs, 0, 0]) await new Promise((resolve) => setTimeout(resolve, ms));
      }
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of waiting) socket.destroy();
      await closed;
    },
  };
}

function listen(server: Server, options: FrontOptions): Promise<number> {
  const { host, port, reusePort } = options;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 1024, ...(reusePort ? { reusePort } : {}) }, () => {
      server.removeListener("error", reject);
      // An accept that fails (no descriptors left) concerns one connection, not the process.
      server.on("error", () => options.reject("limit"));
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

function welcome(socket: Socket, options: FrontOptions, handedOn: () => void): void {
  // Until somebody else listens, an error of the socket is only its end.
  socket.on("error", ignore);
  const release = options.counter.admit();
  if (release === undefined) return turnAway(socket, options, "limit");
  socket.once("close", release);
  const peer = {
    remoteAddress: normalAddress(socket.remoteAddress ?? ""),
    remotePort: socket.remotePort ?? 0,
  };
  const isProxied = options.trustedProxies.some((network) => cidrContains(network, peer.remoteAddress));
  if (isProxied) readProxyHeader(socket, options, peer, (origin) => handOn(origin));
  else handOn(peer);

  function handOn(origin: Origin): void {
    const releaseAddress = options.counter.admitAddress(origin.remoteAddress);
    if (releaseAddress === undefined) return turnAway(socket, options, "address_limit");
    socket.removeListener("error", ignore);
    socket.removeListener("close", release ?? ignore);
    handedOn();
    options.accept(socket, origin, () => {
      release?.();
      releaseAddress();
    });
  }
}

function turnAway(socket: Socket, options: FrontOptions, reason: "limit" | "address_limit"): void {
  options.reject(reason);
  if (!options.isPlain) return void socket.destroy();
  socket.setTimeout(1000, () => socket.destroy());
  socket.end(
    formatReply(refusalReplies.too_many_connections, ["Too many connections, try again later"]),
    () => {
      socket.destroySoon();
    },
  );
}

/** Waits for the header of a trusted proxy; without a right one the socket is closed without a word. */
function readProxyHeader(
  socket: Socket,
  options: FrontOptions,
  peer: Origin,
  found: (origin: Origin) => void,
): void {
  let bytes: Uint8Array = new Uint8Array(0);
  const refuse = (): void => {
    if (!socket.destroyed) options.reject("proxy_header");
    socket.destroy();
  };
  const read = (): void => {
    for (let chunk = socket.read() as Uint8Array | null; chunk !== null; chunk = socket.read()) {
      bytes = concatenated(bytes, chunk);
      const header = parseProxyHeader(bytes);
      if (header.kind === "incomplete") continue;
      stop();
      if (header.kind === "invalid") return refuse();
      const rest = bytes.subarray(header.length);
      if (rest.length > 0) socket.unshift(rest);
      const { source } = header;
      return found(source === undefined ? peer : originOf(source.address, source.port));
    }
  };
  const stop = (): void => {
    socket.removeListener("readable", read);
    socket.removeListener("end", refuse);
    socket.setTimeout(0);
    socket.removeListener("timeout", refuse);
  };
  socket.on("readable", read);
  socket.once("end", refuse);
  socket.setTimeout(options.proxyTimeoutMs, refuse);
}

function originOf(address: string, port: number): Origin {
  return { remoteAddress: normalAddress(address), remotePort: port };
}

function concatenated(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function once(action: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) action();
    isDone = true;
  };
}

function ignore(): void {}
