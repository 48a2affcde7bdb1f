/** One request, the same bytes each time it is sent. */
export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly body?: string;
}

/** A request as it goes over the wire (RFC 9112), for a connection that is kept. */
export function wireOf(
  { method, path, body = "" }: HttpRequest,
  headers: Readonly<Record<string, string>> = {},
): Uint8Array {
  const bytes = new TextEncoder().encode(body);
  const fields = {
    host: "127.0.0.1",
    ...headers,
    ...(body === "" ? {} : { "content-type": "application/json", "content-length": String(bytes.length) }),
  };
  const head = [
    `${method} ${path} HTTP/1.1`,
    ...Object.entries(fields).map(([name, text]) => `${name}: ${text}`),
  ];
  return new Uint8Array([...new TextEncoder().encode(head.join("\r\n") + "\r\n\r\n"), ...bytes]);
}

/** A kept connection to an HTTP server that says the length of what it answers: less work than `fetch` is. */
export class HttpConnection implements Disposable {
  readonly #connection: Deno.TcpConn;
  readonly #buffer = new Uint8Array(256 * 1024);
  readonly #latin1 = new TextDecoder("latin1");

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  static async open(port: number): Promise<HttpConnection> {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    connection.setNoDelay();
    return new HttpConnection(connection);
  }

  /** Sends a request and answers the status when all of the answer is there. */
  async ask(wire: Uint8Array): Promise<number> {
    for (let sent = 0; sent < wire.length;) sent += await this.#connection.write(wire.subarray(sent));
    let held = 0;
    for (;;) {
      const read = await this.#connection.read(this.#buffer.subarray(held));
      if (read === null) throw new Error(`Cannot read an answer: the connection ended after ${held} bytes`);
      held += read;
      const size = this.#sizeOf(held);
      if (size === undefined || held < size) continue;
      if (held > size) throw new Error(`Cannot read an answer: ${held - size} bytes follow it`);
      return Number(this.#latin1.decode(this.#buffer.subarray(9, 12)));
    }
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }

  #sizeOf(held: number): number | undefined {
    const text = this.#latin1.decode(this.#buffer.subarray(0, Math.min(held, 4096)));
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return undefined;
    const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end))?.[1];
    if (length === undefined) throw new Error("Cannot read an answer: it does not say its length");
    const size = end + 4 + Number(length);
    if (size > this.#buffer.length) throw new Error(`Cannot read an answer of ${size} bytes`);
    return size;
  }
}
