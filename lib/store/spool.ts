import { createHash } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import type { Body } from "./body.ts";
import { memoryBody } from "./memory_body.ts";
import type { BodyLabel } from "./message_store.ts";
import { fullOr } from "./room.ts";
import { headerSize } from "./segment_format.ts";
import { createPart, type Part, removeStaleParts } from "./spool_folder.ts";
import { SpooledBody } from "./spooled_body.ts";
import { diskFiles, type StoreFiles } from "./store_files.ts";

/** Where bodies go while they arrive. */
export interface SpoolOptions {
  /** On the same file system as the local store: see `spoolFolder`. */
  readonly directory: string;
  /** Bytes a body may have in memory before it goes to a file; 256 KiB when not given. */
  readonly memoryLimit?: number;
  /** The file system to write with; the real one when not given. */
  readonly files?: StoreFiles;
}

/** Takes one body while it arrives and hashes it on the way; ends with `finish` or `abort`. */
export interface BodyWriter {
  /**
   * Undefined when the chunk was taken (copied) at once; otherwise wait for the promise before writing again,
   * and leave the chunk as it is until then. Rejects with `Refusal("body_store_full")` when the disk is full.
   */
  write(chunk: Uint8Array): Promise<void> | undefined;
  /** The whole body; whoever gets it disposes it, which removes a spool file that no store has adopted. */
  finish(): Promise<Body>;
  /** Drops what was written; may be called at any time, also after a failure. */
  abort(): Promise<void>;
}

/** Receives bodies: small ones in memory, large ones straight into the file they may stay in (ruling 3.2). */
export interface Spool extends AsyncDisposable {
  /** The most memory, in bytes, that a body of a size takes while it arrives. */
  memoryFor(size: number): number;
  /** The label only reserves the room of a header, so that a local store can adopt the file as it is. */
  begin(label: BodyLabel): BodyWriter;
}

/** Opens the folder, and removes what dead processes left there: files nobody has written to for an hour. */
export async function openSpool(
  { directory, memoryLimit = 256 << 10, files = diskFiles }: SpoolOptions,
): Promise<Spool> {
  await mkdir(directory, { recursive: true, mode: 0o770 });
  await removeStaleParts(directory);
  const open = new Set<Writer>();
  const buffers = new Buffers(memoryLimit);
  return {
    memoryFor: (size) => 2 * Math.min(size, memoryLimit),
    begin(label) {
      const create = () => createPart(directory, files);
      const writer = new Writer(create, buffers, label, () => open.delete(writer));
      open.add(writer);
      return writer;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...open].map((writer) => writer.abort()));
    },
  };
}

/** What a body gets to begin with: most fit. */
const usualSize = 16 << 10;
const nothing = new Uint8Array(0);

/** Buffers of one size for large bodies, kept for the next: to have the kernel clear new memory costs more. */
class Buffers {
  readonly size: number;
  readonly #free: Uint8Array<ArrayBuffer>[] = [];

  constructor(size: number) {
    this.size = size;
  }

  take(): Uint8Array<ArrayBuffer> {
    return this.#free.pop() ?? new Uint8Array(this.size);
  }

  /** Of another size it is not kept. */
  give(buffer: Uint8Array<ArrayBuffer>): void {
    if (buffer.length === this.size && this.#free.length * this.size < mostFree) this.#free.push(buffer);
  }
}
/** Bytes kept; they are in no other budget. */
const mostFree = 10 << 20;

/** Fills one buffer; beyond the memory limit it fills a second one while the first is written out. */
class Writer implements BodyWriter {
  readonly #create: () => Promise<Part>;
  readonly #buffers: Buffers;
  readonly #label: BodyLabel;
  readonly #onEnd: () => void;
  readonly #hash = createHash("sha256");
  #size = 0;
  #buffer: Uint8Array<ArrayBuffer>;
  #filled = 0;
  #spare: Uint8Array<ArrayBuffer> | undefined;
  #part: Part | undefined;
  /** Bytes left free for the header, and where in the file the buffer goes; known when a file is needed. */
  #headerSize = 0;
  #position = 0;
  /** The caller's write that has not ended. */
  #taking: Promise<void> | undefined;
  /** The buffer on its way to the disk; never rejects. */
  #writing: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;
  #ended = false;

  constructor(create: () => Promise<Part>, buffers: Buffers, label: BodyLabel, onEnd: () => void) {
    this.#create = create;
    this.#buffers = buffers;
    this.#label = label;
    this.#onEnd = onEnd;
    this.#buffer = new Uint8Array(Math.min(usualSize, buffers.size));
  }

  write(chunk: Uint8Array): Promise<void> | undefined {
    if (this.#ended || this.#taking) {
      throw new Error(
        `Cannot write to a body: ${this.#ended ? "it has ended" : "the last write has not ended"}`,
      );
    }
    this.#hash.update(chunk);
    this.#size += chunk.length;
    if (this.#filled + chunk.length > this.#buffer.length && this.#size <= this.#buffers.size) this.#grow();
    if (this.#filled + chunk.length <= this.#buffer.length) {
      this.#put(chunk);
      return undefined;
    }
    this.#taking = this.#take(chunk).finally(() => this.#taking = undefined);
    return this.#taking;
  }

  async finish(): Promise<Body> {
    if (this.#ended || this.#taking) throw new Error("Cannot finish a body: a write or its end came before");
    this.#ended = true;
    try {
      const inMemory = this.#size <= this.#buffers.size;
      if (!inMemory) await this.#flush();
      await this.#writing;
      if (this.#failure) throw this.#failure.error;
      const sha256 = this.#hash.digest();
      if (inMemory || !this.#part) return memoryBody(this.#buffer.subarray(0, this.#size), sha256);
      this.#giveBack();
      return new SpooledBody(this.#part, this.#headerSize, this.#size, sha256);
    } catch (error) {
      await this.#drop();
      throw fullOr(error);
    } finally {
      this.#onEnd();
    }
  }

  async abort(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    // Its failure is told to the writer's caller; here only its end counts.
    await Promise.allSettled([this.#taking]);
    await this.#drop();
    this.#onEnd();
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
    if (this.#headerSize === 0) this.#headerSize = this.#position = headerSize(this.#label);
    if (this.#buffer.length < this.#buffers.size) {
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
    this.#writing = this.#writeOut(full, this.#position);
    this.#position += full.length;
  }

  async #writeOut(bytes: Uint8Array, position: number): Promise<void> {
    try {
      if (this.#failure) return;
      this.#part ??= await this.#create();
      await this.#part.file.write(bytes, position);
    } catch (error) {
      this.#failure ??= { error };
    }
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
