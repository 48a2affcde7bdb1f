import { rm } from "node:fs/promises";
import type { Body } from "./body.ts";
import { FileBody } from "./file_body.ts";
import type { Part } from "./spool_folder.ts";
import type { StoreFile } from "./store_files.ts";

/** A body in a spool file with room for a header before it; disposing it removes the file unless a store has it. */
export class SpooledBody implements Body {
  #bytes: FileBody;
  /** Kept open, because a failure to write to the disk is told only to those who had the file open. */
  #part: Part | undefined;
  #adopted = false;

  constructor(part: Part, readonly headerSize: number, readonly size: number, readonly sha256: Uint8Array) {
    this.#part = part;
    this.#bytes = new FileBody(part.path, headerSize, size, sha256);
  }

  /** Where the file lies now. */
  get path(): string {
    return this.#bytes.path;
  }

  /** The open file, which the caller closes; only once, for a file whose sync failed can be copied but not trusted. */
  takeFile(): StoreFile | undefined {
    const file = this.#part?.file;
    this.#part = undefined;
    return file;
  }

  /** The file is a store's from now on, at this path. */
  adoptedAs(path: string): void {
    this.#bytes = new FileBody(path, this.headerSize, this.size, this.sha256);
    this.#adopted = true;
  }

  bytes(): Promise<Uint8Array> {
    return this.#bytes.bytes();
  }

  stream(): ReadableStream<Uint8Array> {
    return this.#bytes.stream();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const file = this.takeFile();
    // The file goes, so a failure to close it loses nothing.
    await Promise.allSettled([file?.close()]);
    if (!this.#adopted) await rm(this.path, { force: true });
  }
}
