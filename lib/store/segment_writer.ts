import { join } from "node:path";
import { coalesce, type ItemResult } from "../coalesce.ts";
import type { GroupId } from "../ids.ts";
import type { StorageRef } from "../messages/message.ts";
import { codeOf, fullOr } from "./disk_errors.ts";
import { folderOf, newSegmentPath, refOf, segmentTime } from "./segment_ref.ts";
import type { StoreFile, StoreFiles, StoreFolders } from "./store_files.ts";

/** After this time without a roll no batch of a segment is acknowledged any more, in milliseconds. */
export const segmentLifeMs = 120_000;

/** When segments are rolled, and who is told of batches. */
export interface SegmentWriterOptions {
  readonly root: string;
  readonly instance: string;
  readonly files: StoreFiles;
  readonly folders: StoreFolders;
  /** Bytes after which a segment is rolled; 64 MiB when not given. */
  readonly rollBytes?: number;
  /** Age after which a segment is rolled, in milliseconds; a minute when not given. */
  readonly rollMs?: number;
  /** A clock in milliseconds that never goes back. */
  readonly now?: () => number;
  /** Told of every batch, which is one write and one sync. */
  readonly onBatch?: (bodies: number) => void;
}

/** A small body on its way into a segment, with the header that is written before it. */
export interface Appended {
  readonly group: GroupId;
  readonly header: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Appends small bodies to a segment of its own, one write and one sync for each batch (ruling 3.7). */
export class SegmentWriter implements AsyncDisposable {
  readonly #options: SegmentWriterOptions;
  readonly #now: () => number;
  #segment: OpenSegment | undefined;
  #scratch = new Uint8Array(256 << 10);

  /** Durable when it resolves. */
  readonly append: (body: Appended) => Promise<StorageRef>;

  constructor(options: SegmentWriterOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.append = coalesce((batch: readonly Appended[]) => this.#write(batch), {
      bytesOf: (body) => body.header.length + body.bytes.length,
      laneOf: (body) => body.group,
      ...options.onBatch && { onBatch: options.onBatch },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const segment = this.#segment;
    this.#segment = undefined;
    await segment?.file.close();
  }

  /** No failure here is one body's fault, so all of the batch fail, and none is tried again in halves. */
  async #write(batch: readonly Appended[]): Promise<readonly ItemResult<StorageRef>[]> {
    try {
      const segment = await this.#writable();
      const { bytes, refs } = this.#gather(batch, segment);
      await segment.file.write(bytes, segment.size);
      await segment.file.sync();
      segment.size += bytes.length;
      // Whoever deletes segments relies on it that an old one gets no new bodies (see segment_removal.ts).
      const age = this.#age(segment);
      if (age > segmentLifeMs) throw new Error(`Cannot store bodies in time: the segment is ${age} ms old`);
      return refs.map((value) => ({ ok: true, value }));
    } catch (error) {
      await this.#abandon();
      return batch.map(() => ({ ok: false, error: fullOr(error) }));
    }
  }

  async #writable(): Promise<OpenSegment> {
    const { rollBytes = 64 << 20, rollMs = 60_000 } = this.#options;
    const open = this.#segment;
    if (open && open.size < rollBytes && this.#age(open) < rollMs) return open;
    await this[Symbol.asyncDispose]();
    this.#segment = await this.#open();
    return this.#segment;
  }

  /** By either clock: one stands still while the machine sleeps, the other may be set back. */
  #age(segment: OpenSegment): number {
    return Math.max(this.#now() - segment.openedAt, Date.now() - segmentTime(segment.path));
  }

  async #open(): Promise<OpenSegment> {
    const { root, files, folders, instance } = this.#options;
    const openedAt = this.#now();
    const path = newSegmentPath(instance);
    const folder = folderOf(path);
    await folders.make(folder);
    let file: StoreFile;
    try {
      file = await files.create(join(root, path));
    } catch (error) {
      if (codeOf(error) === "ENOENT") folders.forget(folder);
      throw error;
    }
    try {
      await folders.sync(folder);
    } catch (error) {
      await file.close();
      throw error;
    }
    return { path, file, openedAt, size: 0 };
  }

  /** One buffer, because one write of it costs less than many of its parts. */
  #gather(batch: readonly Appended[], segment: OpenSegment): { bytes: Uint8Array; refs: StorageRef[] } {
    const size = batch.reduce((sum, { header, bytes }) => sum + header.length + bytes.length, 0);
    if (size > this.#scratch.length) this.#scratch = new Uint8Array(size);
    let at = 0;
    const refs = batch.map(({ header, bytes }) => {
      this.#scratch.set(header, at);
      this.#scratch.set(bytes, at + header.length);
      const offset = segment.size + at + header.length;
      at += header.length + bytes.length;
      return refOf({ path: segment.path, offset, size: bytes.length });
    });
    return { bytes: this.#scratch.subarray(0, size), refs };
  }

  /** After a failed write or sync nobody knows what is on the disk: nothing is ever added to that segment again. */
  async #abandon(): Promise<void> {
    const segment = this.#segment;
    this.#segment = undefined;
    // Closing such a file may fail too, which adds nothing to the failure that is told.
    await Promise.allSettled([segment?.file.close()]);
  }
}

interface OpenSegment {
  readonly path: string;
  readonly file: StoreFile;
  readonly openedAt: number;
  size: number;
}
