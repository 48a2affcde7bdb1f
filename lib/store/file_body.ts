import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Body } from "./body.ts";

/** The bytes read are not those that were stored. */
export class DamagedBody extends Error {
  override readonly name = "DamagedBody";
}

/** A body that is a range of a file; opened when it is read, checked against its SHA-256 while it is read. */
export class FileBody implements Body {
  constructor(
    readonly path: string,
    readonly offset: number,
    readonly size: number,
    readonly sha256: Uint8Array,
  ) {}

  /** Throws `DamagedBody` when the bytes are not those that were stored. */
  async bytes(): Promise<Uint8Array> {
    const bytes = new Uint8Array(this.size);
    await using reading = await this.#open();
    let at = 0;
    while (at < this.size) at += await reading.into(bytes.subarray(at, at + chunkSize), at);
    reading.verify();
    return bytes;
  }

  /** Ends with `DamagedBody` when the bytes are not those that were stored; cancel it when not reading to the end. */
  stream(): ReadableStream<Uint8Array> {
    let reading: Reading | undefined;
    let pulling: Promise<void> | undefined;
    let at = 0;
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
      reading ??= await this.#open();
      try {
        const chunk = new Uint8Array(Math.min(chunkSize, this.size - at));
        at += await reading.into(chunk, at);
        if (at === this.size) reading.verify();
        if (chunk.length > 0) controller.enqueue(chunk);
      } catch (error) {
        await reading.close();
        throw error;
      }
      if (at < this.size) return;
      await reading.close();
      controller.close();
    };
    return new ReadableStream({
      pull: (controller) => pulling = pull(controller),
      async cancel() {
        await Promise.allSettled([pulling]); // nobody is left to be told how it ended
        await reading?.close();
      },
    }, { highWaterMark: 0 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async #open(): Promise<Reading> {
    return new Reading(await open(this.path, "r"), this);
  }
}

const chunkSize = 64 << 10;

/** One pass over a body's bytes, in order. */
class Reading implements AsyncDisposable {
  readonly #hash: Hash = createHash("sha256");
  #closed = false;

  constructor(readonly file: FileHandle, readonly body: FileBody) {}

  /** Fills the whole chunk with the bytes from a position of the body, and says how many those are. */
  async into(chunk: Uint8Array, at: number): Promise<number> {
    const got = await readFully(this.file, chunk, this.body.offset + at);
    if (got < chunk.length) throw this.#damaged(`it ends ${chunk.length - got} bytes early`);
    this.#hash.update(chunk);
    return got;
  }

  verify(): void {
    if (!sameBytes(this.#hash.digest(), this.body.sha256)) throw this.#damaged("its SHA-256 is another");
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #damaged(how: string): DamagedBody {
    return new DamagedBody(`Cannot read the body at ${this.body.offset} of ${this.body.path}: ${how}`);
  }
}

/** Reads from a position until the buffer is full or the file ends; says how many bytes were read. */
export async function readFully(file: FileHandle, into: Uint8Array, position: number): Promise<number> {
  let got = 0;
  while (got < into.length) {
    const { bytesRead } = await file.read(into, got, into.length - got, position + got);
    if (bytesRead === 0) break;
    got += bytesRead;
  }
  return got;
}

/** True when both hold the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
