/** What a server answered on a kept connection. */
export interface KeptAnswer {
  readonly status: number;
  readonly body: string;
  /** The server wants the next request on another connection. */
  readonly closes: boolean;
}

/** How a request looks on the wire (RFC 9112). */
export function requestBytes(
  method: string,
  path: string,
  { token, body }: { readonly token?: string; readonly body?: unknown } = {},
): Uint8Array {
  const text = body === undefined ? "" : JSON.stringify(body);
  const fields = [
    "host: api.test",
    ...(token === undefined ? [] : [`authorization: Bearer ${token}`]),
    ...(body === undefined ? [] : ["content-type: application/json", `content-length: ${text.length}`]),
  ];
  return new TextEncoder().encode(`${method} ${path} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n${text}`);
}

/** One HTTP connection that is used again and again; undefined where the server ended it without a byte of an answer. */
export class KeptConnection implements Disposable {
  readonly #connection: Deno.TcpConn;

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  static async open(port: number): Promise<KeptConnection> {
    return new KeptConnection(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  async ask(request: Uint8Array): Promise<KeptAnswer | undefined> {
    if (!await this.send(request)) return undefined;
    return await this.answer();
  }

  /** Whether all was written. */
  async send(bytes: Uint8Array): Promise<boolean> {
    try {
      for (let sent = 0; sent < bytes.length;) sent += await this.#connection.write(bytes.subarray(sent));
      return true;
    } catch (error) {
      return refuseOther(error);
    }
  }

  async answer(): Promise<KeptAnswer | undefined> {
    let text = "";
    for (;;) {
      const chunk = await this.#read();
      if (chunk === "" && text === "") return undefined;
      if (chunk === "") throw new Error(`The connection ended within an answer: ${text.slice(0, 200)}`);
      text += chunk;
      const head = text.indexOf("\r\n\r\n");
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(text.slice(0, head))?.[1] ?? 0);
      if (head < 0 || text.length < head + 4 + length) continue;
      return {
        status: Number(text.slice(9, 12)),
        body: text.slice(head + 4),
        closes: /\r\nconnection: close/i.test(text.slice(0, head)),
      };
    }
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }

  /** Answers of the tests are ASCII: a character is a byte. */
  async #read(): Promise<string> {
    const buffer = new Uint8Array(16 * 1024);
    try {
      const read = await this.#connection.read(buffer);
      return read === null ? "" : new TextDecoder("latin1").decode(buffer.subarray(0, read));
    } catch (error) {
      refuseOther(error);
      return "";
    }
  }
}

/** False for a connection that the other side has ended; what else went wrong is thrown. */
function refuseOther(error: unknown): false {
  if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe) return false;
  throw error;
}
