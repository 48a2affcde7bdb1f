import { createHash } from "node:crypto";
import type { Body } from "./body.ts";
import { DamagedBody, sameBytes } from "./file_body.ts";
import { S3Error } from "./s3_errors.ts";
import type { OpenedBody, S3Client } from "./s3_request.ts";

const mostBreaks = 5;

/** A body in S3: asked for when it is read, taken up where it broke off, checked against its SHA-256. */
export class S3Body implements Body {
  readonly #client: S3Client;
  readonly #key: string;

  constructor(client: S3Client, key: string, readonly size: number, readonly sha256: Uint8Array) {
    this.#client = client;
    this.#key = key;
  }

  /** Throws `DamagedBody` when the bytes are not those that were stored. */
  async bytes(): Promise<Uint8Array> {
    const bytes = new Uint8Array(this.size);
    let at = 0;
    for await (const chunk of this.#chunks()) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }

  /** Ends with `DamagedBody` when the bytes are not those that were stored; cancel it when not reading to the end. */
  stream(): ReadableStream<Uint8Array> {
    const chunks = this.#chunks();
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: async () => void await chunks.return(undefined),
    }, { highWaterMark: 0 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  /** Holds each piece back until there is another, so that the last is only given out when all is well. */
  async *#chunks(): AsyncGenerator<Uint8Array, undefined> {
    const hash = createHash("sha256");
    let held: Uint8Array | undefined;
    for await (const chunk of this.#pieces()) {
      hash.update(chunk);
      if (held !== undefined) yield held;
      held = chunk;
    }
    if (!sameBytes(hash.digest(), this.sha256)) throw this.#damaged("its SHA-256 is another");
    if (held !== undefined) yield held;
    return undefined;
  }

  /** Exactly as many bytes as the body has, over as many connections as that takes. */
  async *#pieces(): AsyncGenerator<Uint8Array, undefined> {
    let at = 0;
    for (let breaks = 0; at < this.size; breaks++) {
      const body = await this.#open(at);
      let broken: unknown;
      try {
        for (;;) {
          const chunk = await body.read().catch((error) => {
            broken = error;
            return undefined;
          });
          if (chunk === undefined) break;
          if (at + chunk.length > this.size) throw this.#damaged("it is longer than it was");
          at += chunk.length;
          if (chunk.length > 0) yield chunk;
        }
      } finally {
        await body.cancel();
      }
      if (at === this.size) return undefined;
      if (breaks >= mostBreaks) {
        if (broken !== undefined) {
          throw new S3Error("read a body", { status: 0, code: "connection lost" }, { cause: broken });
        }
        throw this.#damaged(`it ends ${this.size - at} bytes early`);
      }
    }
    return undefined;
  }

  async #open(at: number): Promise<OpenedBody> {
    const range = { range: `bytes=${at}-${this.size - 1}` };
    const request = { what: "read a body", method: "GET", key: this.#key } as const;
    const { headers, body } = await this.#client.open({ ...request, ...at > 0 && { headers: range } });
    if (at === 0 || headers.get("content-range")?.startsWith(`bytes ${at}-`)) return body;
    await body.cancel();
    throw new S3Error("read a body", { status: 0, code: "no range in the answer" });
  }

  #damaged(how: string): DamagedBody {
    return new DamagedBody(`Cannot read the body at ${this.#key} in S3: ${how}`);
  }
}
