import { mkdir, rm } from "node:fs/promises";
import { Crowd } from "../crowd.ts";
import { arrivalsInThread } from "./arrival_thread.ts";
import { type Arrival, type ArrivalLayout, type Arrivals, arrivalsOn, type BodyHashes } from "./arrivals.ts";
import type { Body } from "./body.ts";
import { memoryBody, sha256Of } from "./memory_body.ts";
import type { BodyLabel } from "./message_store.ts";
import { fullOr } from "./disk_errors.ts";
import { headerSize } from "./segment_format.ts";
import { newPartPath, type Part, removeStaleParts } from "./spool_folder.ts";
import { SpooledBody } from "./spooled_body.ts";
import type { StoreFiles } from "./store_files.ts";

/** Where bodies go while they arrive. */
export interface SpoolOptions {
  /** On the same file system as the local store: see `spoolFolder`. */
  readonly directory: string;
  /** Bytes a body may have in memory before it goes to a file; 256 KiB when not given. */
  readonly memoryLimit?: number;
  /** The file system to write with, where the caller runs; a thread of its own and the real one when not given. */
  readonly files?: StoreFiles;
}

/** One body that has arrived in full. */
export interface Arrived extends Pick<BodyHashes, "contentHash"> {
  /** Whoever gets it disposes it, which removes a spool file that no store has adopted. */
  readonly body: Body;
}

/** Takes one body while it arrives; ends with `finish` or `abort`. */
export interface BodyWriter {
  /**
   * Undefined when the chunk was taken (copied) at once; otherwise wait for the promise before writing again,
   * and leave the chunk as it is until then. Rejects with `Refusal("body_store_full")` when the disk is full.
   */
  write(chunk: Uint8Array): Promise<void> | undefined;
  /** The whole body, hashed. */
  finish(): Promise<Arrived>;
  /** Drops what was written; may be called at any time, also after a failure. */
  abort(): Promise<void>;
}

/** Receives bodies: small ones in memory, large ones straight into the file they may stay in (ruling 3.2). */
export interface Spool extends AsyncDisposable {
  /** The most memory, in bytes, that a body of a size takes while it arrives. */
  memoryFor(size: number): number;
  /**
   * The label only reserves the room of a header, so that a local store can adopt the file as it is. The prefix, which
   * is no longer than the memory of a body, is the body's beginning and no part of its content.
   */
  begin(label: BodyLabel, prefix?: Uint8Array): BodyWriter;
}

/** Opens the folder, and removes what dead processes left there: files nobody has written to for an hour. */
export async function openSpool(
  { directory, memoryLimit = 256 << 10, files }: SpoolOptions,
): Promise<Spool> {
  await mkdir(directory, { recursive: true, mode: 0o770 });
  await removeStaleParts(directory);
  const open = new Crowd<Writer>();
  const buffers = new Buffers(memoryLimit);
  const arrivals = files === undefined ? arrivalsInThread() : arrivalsOn(files);
  return {
    memoryFor: (size) => 2 * Math.min(size, memoryLimit),
    begin(label, prefix = nothing) {
      const writer = new Writer({
        directory,
        arrivals,
        buffers,
        label,
        prefix,
        onEnd: () => open.leave(writer, place),
      });
      const place = open.enter(writer);
      return writer;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...open].map((writer) => writer.abort()));
      arrivals[Symbol.dispose]();
    },
  };
}

/** What a body gets to begin with: most fit. */
const usualSize = 16 << 10;
const nothing = new Uint8Array(0);

/**
 * Buffers of one size for large bodies, shared with whoever writes them out, and kept for the next: to have the kernel
 * clear new memory costs more.
 */
class Buffers {
  readonly size: number;
  readonly #free: Uint8Array[] = [];

  constructor(size: number) {
    this.size = size;
  }

  take(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(new SharedArrayBuffer(this.size));
  }

  /**
   * One that is not shared is not kept. All others are: there are no more than arrived at a time, and the memory of one
   * that is dropped comes back only when both threads have collected it.
   */
  give(buffer: Uint8Array): void {
    if (isShared(buffer)) this.#free.push(buffer);
  }
}

function isShared({ buffer }: Uint8Array): boolean {
  return buffer instanceof SharedArrayBuffer;
}

/** What a writer works with. */
interface WriterParts {
  readonly directory: string;
  readonly arrivals: Arrivals;
  readonly buffers: Buffers;
  readonly label: BodyLabel;
  readonly prefix: Uint8Array;
  onEnd(): void;
}

/** Fills one buffer; beyond the memory limit it fills a second one while the first is written out. */
class Writer implements BodyWriter {
  readonly #parts: WriterParts;
  readonly #buffers: Buffers;
  #size = 0;
  #buffer: Uint8Array;
  #filled = 0;
  #spare: Uint8Array | undefined;
  #part: Part<Arrival> | undefined;
  /** The caller's write that has not ended. */
  #taking: Promise<void> | undefined;
  /** The buffer on its way to the disk; never rejects. */
  #writing: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;
  #finishing: Promise<Arrived> | undefined;
  #ended = false;

  constructor(parts: WriterParts) {
    const { buffers, prefix } = this.#parts = parts;
    if (prefix.length > buffers.size) throw new RangeError("Cannot begin a body with so long a prefix");
    this.#buffers = buffers;
    this.#buffer = new Uint8Array(Math.min(Math.max(usualSize, prefix.length), buffers.size));
    this.#size = prefix.length;
    this.#put(prefix);
  }

  write(chunk: Uint8Array): Promise<void> | undefined {
    if (this.#ended || this.#taking) {
      throw new Error(
        `Cannot write to a body: ${this.#ended ? "it has ended" : "the last write has not ended"}`,
      );
    }
    this.#size += chunk.length;
    if (this.#filled + chunk.length > this.#buffer.length && this.#size <= this.#buffers.size) this.#grow();
    if (this.#filled + chunk.length <= this.#buffer.length) {
      this.#put(chunk);
      return undefined;
    }
    this.#taking = this.#take(chunk).finally(() => this.#taking = undefined);
    return this.#taking;
  }

  async finish(): Promise<Arrived> {
    if (this.#ended || this.#taking) throw new Error("Cannot finish a body: a write or its end came before");
    this.#ended = true;
    return await (this.#finishing = this.#finish());
  }

  async #finish(): Promise<Arrived> {
    try {
      return this.#size <= this.#buffers.size ? this.#inMemory() : await this.#inFile();
    } catch (error) {
      await this.#drop();
      throw fullOr(error);
    } finally {
      this.#parts.onEnd();
    }
  }

  #inMemory(): Arrived {
    const bytes = this.#buffer.subarray(0, this.#size);
    return {
      body: memoryBody(bytes),
      contentHash: sha256Of(bytes.subarray(this.#parts.prefix.length)),
    };
  }

  async #inFile(): Promise<Arrived> {
    await this.#flush();
    await this.#writing;
    if (this.#failure) throw this.#failure.error;
    if (!this.#part) throw new Error("Cannot finish a body: it has no file");
    const { sha256, contentHash } = await this.#part.file.hashes();
    this.#giveBack();
    return { body: new SpooledBody(this.#part, this.#layout().headerSize, this.#size, sha256), contentHash };
  }

  async abort(): Promise<void> {
    // How it ends is told to whoever finishes it.
    if (this.#ended) return void await Promise.allSettled([this.#finishing]);
    this.#ended = true;
    // Its failure is told to the writer's caller; here only its end counts.
    await Promise.allSettled([this.#taking]);
    await this.#drop();
    this.#parts.onEnd();
  }

  #grow(): void {
    let capacity = this.#buffer.length;
    while (capacity < this.#size) capacity *= 2;
    const larger = new Uint8Array(Math.min(capacity, this.#buffers.size));
    larger.set(this.#buffer.subarray(0, this.#filled));
    this.#buffer = larger;
  }

  #put(part: Uint8Array): void {
    this.#buffer.set(part, this.#filled);
    this.#filled += part.length;
  }

  async #take(chunk: Uint8Array): Promise<void> {
    if (!isShared(this.#buffer)) {
      const whole = this.#buffers.take();
      whole.set(this.#buffer.subarray(0, this.#filled));
      this.#buffer = whole;
    }
    for (let at = 0; at < chunk.length;) {
      if (this.#filled === this.#buffer.length) await this.#flush();
      const part = chunk.subarray(at, at + this.#buffer.length - this.#filled);
      this.#put(part);
      at += part.length;
    }
  }

  /** Sends the buffer on its way once the one before has arrived; the buffer that comes back is empty. */
  async #flush(): Promise<void> {
    await this.#writing;
    if (this.#failure) throw fullOr(this.#failure.error);
    const full = this.#buffer.subarray(0, this.#filled);
    const next = this.#spare ?? this.#buffers.take();
    this.#spare = this.#buffer;
    this.#buffer = next;
    this.#filled = 0;
    this.#writing = this.#writeOut(full);
  }

  async #writeOut(bytes: Uint8Array): Promise<void> {
    try {
      if (this.#failure) return;
      this.#part ??= await this.#create();
      await this.#part.file.append(bytes);
    } catch (error) {
      this.#failure ??= { error };
    }
  }

  async #create(): Promise<Part<Arrival>> {
    const { directory, arrivals } = this.#parts;
    const path = newPartPath(directory);
    return { path, file: await arrivals.create(path, this.#layout()) };
  }

  #layout(): ArrivalLayout {
    const { label, prefix } = this.#parts;
    return { headerSize: headerSize(label), prefixSize: prefix.length };
  }

  /** To be called when nothing is written out any more. */
  #giveBack(): void {
    this.#buffers.give(this.#buffer);
    if (this.#spare) this.#buffers.give(this.#spare);
    this.#buffer = nothing;
    this.#spare = undefined;
  }

  async #drop(): Promise<void> {
    await this.#writing;
    this.#giveBack();
    if (!this.#part) return;
    // Closed or not, and whatever else is wrong with it: it goes.
    await Promise.allSettled([this.#part.file.close()]);
    await rm(this.#part.path, { force: true });
  }
}
