import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { Body } from "./body.ts";
import { FileBody, readFully, sameBytes } from "./file_body.ts";
import { memoryBody, sha256Of } from "./memory_body.ts";
import { codeOf } from "./disk_errors.ts";
import { fixedSize, parseFixed } from "./segment_format.ts";
import type { SegmentPlace } from "./segment_ref.ts";

/** How a reader keeps files open. */
export interface SegmentReaderOptions {
  readonly root: string;
  /** Files kept open at a time; 64 when not given. */
  readonly maxOpen?: number;
  /** Bodies above this many bytes are not read at once; 256 KiB when not given. */
  readonly memoryLimit?: number;
  /** A clock in milliseconds that never goes back. */
  readonly now?: () => number;
}

/** Reads bodies from segments of any process, keeping the files it read last open for a while. */
export class SegmentReader implements AsyncDisposable {
  readonly #root: string;
  readonly #maxOpen: number;
  readonly #memoryLimit: number;
  readonly #now: () => number;
  // The map's order is the order of last use.
  readonly #open = new Map<string, OpenFile>();
  #lastRead = "";
  readonly #closing = new Set<Promise<void>>();

  constructor(options: SegmentReaderOptions) {
    this.#root = options.root;
    this.#maxOpen = options.maxOpen ?? 64;
    this.#memoryLimit = options.memoryLimit ?? 256 << 10;
    this.#now = options.now ?? (() => performance.now());
  }

  /** The body at a place, or undefined when there is none or its bytes are damaged. */
  async read(place: SegmentPlace): Promise<Body | undefined> {
    const wasOpen = this.#open.has(place.path);
    const body = await this.#readOnce(place);
    if (body !== undefined || !wasOpen) return body;
    // A file that is open on a network share may show what it was a while ago, and one that was replaced what it was
    // before; opened anew it shows what it is.
    this.forget(place.path);
    return await this.#readOnce(place);
  }

  async #readOnce(place: SegmentPlace): Promise<Body | undefined> {
    const file = this.#borrow(place.path);
    try {
      return await this.#readFrom(await file.handle, place);
    } catch (error) {
      this.forget(place.path);
      if (isAbsence(error)) return undefined;
      throw error;
    } finally {
      file.users--;
      if (file.dropped) await this.#closeUnused(file);
    }
  }

  /** Closes a segment's file, once nobody reads it any more. */
  forget(path: string): void {
    const file = this.#open.get(path);
    if (!file) return;
    this.#open.delete(path);
    file.dropped = true;
    void this.#closeUnused(file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const path of this.#open.keys()) this.forget(path);
    await Promise.all(this.#closing);
  }

  async #readFrom(handle: FileHandle, place: SegmentPlace): Promise<Body | undefined> {
    const inMemory = place.size <= this.#memoryLimit;
    if (place.offset < fixedSize) return undefined;
    const bytes = new Uint8Array(fixedSize + (inMemory ? place.size : 0));
    if (await readFully(handle, bytes, place.offset - fixedSize) < bytes.length) return undefined;
    const facts = parseFixed(bytes);
    if (facts?.size !== place.size) return undefined;
    if (!inMemory) {
      if ((await handle.stat()).size < place.offset + place.size) return undefined;
      return new FileBody(join(this.#root, place.path), place.offset, place.size, facts.sha256);
    }
    const body = bytes.subarray(fixedSize);
    return sameBytes(sha256Of(body), facts.sha256) ? memoryBody(body, facts.sha256) : undefined;
  }

  #borrow(path: string): OpenFile {
    this.#dropOld(path);
    let file = this.#open.get(path);
    if (!file) {
      file = { handle: open(join(this.#root, path), "r"), since: this.#now(), users: 0, dropped: false };
    }
    // One read again and again keeps its place: nothing should come and go in a Map by the thousand (see `Crowd`).
    if (this.#lastRead !== path) this.#open.delete(path);
    this.#open.set(path, file);
    this.#lastRead = path;
    file.users++;
    return file;
  }

  async #closeUnused(file: OpenFile): Promise<void> {
    if (file.users > 0) return;
    const closing = closeIfOpen(file.handle);
    this.#closing.add(closing);
    await closing;
    this.#closing.delete(closing);
  }

  /**
   * An open file keeps a deleted segment on the disk, so none stays open for longer than a minute. Where there is no
   * room for one more, the one that was not read for longest goes.
   */
  #dropOld(wanted: string): void {
    const before = this.#now() - 60_000;
    for (const [path, file] of this.#open) {
      const isFull = this.#open.size >= this.#maxOpen && !this.#open.has(wanted);
      if (file.since < before || isFull) this.forget(path);
    }
  }
}

interface OpenFile {
  readonly handle: Promise<FileHandle>;
  readonly since: number;
  users: number;
  dropped: boolean;
}

async function closeIfOpen(handle: Promise<FileHandle>): Promise<void> {
  const [opened] = await Promise.allSettled([handle]);
  // A file that is only read has nothing to lose by a failed close.
  if (opened.status === "fulfilled") await Promise.allSettled([opened.value.close()]);
}

/** Whether an error says that there is no such file, rather than that the disk does not work. */
export function isAbsence(error: unknown): boolean {
  const code = codeOf(error);
  return code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR";
}
