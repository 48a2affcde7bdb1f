import { Buffer } from "node:buffer";
import type net from "node:net";

/** A request as it came over the wire. */
export interface SeenRequest {
  readonly method: string;
  /** Path and query, as written. */
  readonly target: string;
  /** By name in lower case; several of one name are joined with ", ". */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
  /** The body came with Transfer-Encoding: chunked, so without a known length. */
  readonly isChunked: boolean;
  /** Number of its connection, from 1. */
  readonly connection: number;
}

/** Reads one request after another from a socket. */
export class RequestReader {
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #connection: number;
  #rest: Buffer = Buffer.alloc(0);
  #head: { method: string; target: string; headers: Map<string, string> } | undefined;

  constructor(socket: net.Socket, connection: number) {
    this.#chunks = socket.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]();
    this.#connection = connection;
  }

  /** Reads up to the empty line; false when the connection ended before. Throws on what is no HTTP. */
  async readHead(): Promise<boolean> {
    const text = await this.#until("\r\n\r\n");
    if (text === undefined) return false;
    const [first = "", ...lines] = text.toString("latin1").split("\r\n");
    const match = /^([A-Z]+) (\S+) HTTP\/1\.1$/.exec(first);
    if (match?.[1] === undefined || match[2] === undefined) throw new Error(`No request line: ${first}`);
    const headers = new Map<string, string>();
    for (const line of lines) {
      const colon = line.indexOf(":");
      if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(line.slice(0, colon))) throw new Error(`No header: ${line}`);
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value);
    }
    this.#head = { method: match[1], target: match[2], headers };
    return true;
  }

  /** Reads the body of the head before; undefined when the connection ended within it. */
  async readBody(): Promise<SeenRequest | undefined> {
    const head = this.#head;
    if (head === undefined) throw new Error("No head was read");
    const isChunked = head.headers.get("transfer-encoding") === "chunked";
    const body = isChunked
      ? await this.#chunked()
      : await this.#exactly(Number(head.headers.get("content-length") ?? 0));
    return body && { ...head, body, isChunked, connection: this.#connection };
  }

  async #chunked(): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    for (;;) {
      const line = await this.#until("\r\n");
      if (line === undefined) return undefined;
      const size = Number.parseInt(line.toString("latin1"), 16);
      const part = await this.#exactly(size);
      if (part === undefined || await this.#until("\r\n") === undefined) return undefined;
      if (size === 0) return Buffer.concat(parts);
      parts.push(part);
    }
  }

  async #until(mark: string): Promise<Buffer | undefined> {
    let end = this.#rest.indexOf(mark);
    while (end < 0) {
      if (!await this.#more()) return undefined;
      end = this.#rest.indexOf(mark);
    }
    const found = this.#rest.subarray(0, end);
    this.#rest = this.#rest.subarray(end + mark.length);
    return found;
  }

  async #exactly(length: number): Promise<Buffer | undefined> {
    const parts = [this.#rest];
    let got = this.#rest.length;
    while (got < length) {
      const chunk = await this.#next();
      if (chunk === undefined) return undefined;
      parts.push(chunk);
      got += chunk.length;
    }
    const all = parts.length === 1 ? this.#rest : Buffer.concat(parts);
    this.#rest = all.subarray(length);
    return all.subarray(0, length);
  }

  async #more(): Promise<boolean> {
    const chunk = await this.#next();
    if (chunk === undefined) return false;
    this.#rest = Buffer.concat([this.#rest, chunk]);
    return true;
  }

  /** A connection that breaks has ended, however it did. */
  async #next(): Promise<Buffer | undefined> {
    try {
      const { done, value } = await this.#chunks.next();
      return done === true ? undefined : value;
    } catch (error) {
      if (error instanceof Error && "code" in error) return undefined;
      throw error;
    }
  }
}
