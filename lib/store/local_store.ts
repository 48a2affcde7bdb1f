import { mkdir, open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { TooManyWaiting } from "../coalesce.ts";
import type { StorageRef } from "../messages/message.ts";
import { Refusal } from "../refusal.ts";
import type { Body } from "./body.ts";
import type { BodyLabel, MessageStore, StoredBody } from "./message_store.ts";
import { codeOf, fullOr } from "./disk_errors.ts";
import { Room } from "./room.ts";
import { encodeHeader } from "./segment_format.ts";
import { segmentPaths } from "./segment_folders.ts";
import { isAbsence, SegmentReader } from "./segment_reader.ts";
import { holdsOne, placeOf, refOf, segmentTime } from "./segment_ref.ts";
import { SegmentRemoval } from "./segment_removal.ts";
import { scanSegment } from "./segment_scan.ts";
import { type Appended, SegmentWriter } from "./segment_writer.ts";
import { storeAlone } from "./single_segment.ts";
import { removeStaleParts, spoolFolder } from "./spool_folder.ts";
import { SpooledBody } from "./spooled_body.ts";
import { diskFiles, type StoreFiles, StoreFolders } from "./store_files.ts";

/** What a local store needs to know. */
export interface LocalStoreOptions {
  /** The store's folder; several processes may use it at a time. */
  readonly path: string;
  /** Begins the names of this process's segments: letters, digits, `_` and `-`, at most 64. */
  readonly instance: string;
  /** Bytes that stay free on the disk; 512 MiB when not given. */
  readonly minFree?: number;
  /** For who reads alone: nothing is made, and a folder that is not there is a store that is down. */
  readonly mustExist?: boolean;
  /** Told of every batch of small bodies, which is one write and one sync. */
  readonly onBatch?: (bodies: number) => void;
  /** The file system to write with; the real one when not given. */
  readonly files?: StoreFiles;
  /** The time of day, in milliseconds since 1970, by which segments are settled. */
  readonly now?: () => number;
}

/** A store that also knows whether it has room. */
export interface RoomyStore extends MessageStore {
  /** Throws `Refusal("body_store_full")` when a body should not even begin to arrive; cheap enough for every DATA. */
  checkRoom(): Promise<void>;
  /** Throws when the store cannot be reached, such as one that is not mounted; says nothing of room. */
  checkThere(): Promise<void>;
}

const formatFile = "FORMAT";
const format = "smtp-proxy bodies, format 1\n";
const aloneAbove = 1 << 20;

/** Opens the store of a folder, which it makes when there is none, unless it must exist. */
export async function openLocalStore(options: LocalStoreOptions): Promise<RoomyStore> {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(options.instance)) {
    throw new Error(`Cannot open the body store: current value of instance is "${options.instance}"`);
  }
  const files = options.files ?? diskFiles;
  if (options.mustExist === true) await checkFormat(options.path);
  else {
    await mkdir(spoolFolder(options.path), { recursive: true, mode: 0o770 });
    await claimFolder(options.path, files);
  }
  return new LocalStore(options, files);
}

/** Bodies in append-only segments (ruling 3.7). */
class LocalStore implements RoomyStore {
  readonly #root: string;
  readonly #instance: string;
  readonly #files: StoreFiles;
  readonly #folders: StoreFolders;
  readonly #room: Room;
  readonly #writer: SegmentWriter;
  readonly #reader: SegmentReader;
  readonly #removal: SegmentRemoval;

  constructor(options: LocalStoreOptions, files: StoreFiles) {
    const root = this.#root = options.path;
    const instance = this.#instance = options.instance;
    this.#files = files;
    const folders = this.#folders = new StoreFolders(root, files, formatFile);
    this.#room = new Room(root, options.minFree ?? 512 << 20);
    this.#writer = new SegmentWriter({
      root,
      instance,
      files,
      folders,
      ...options.onBatch && { onBatch: options.onBatch },
    });
    this.#reader = new SegmentReader({ root });
    this.#removal = new SegmentRemoval(root, (path) => this.#reader.forget(path), options.now);
  }

  checkRoom(): Promise<void> {
    return this.#room.check();
  }

  checkThere(): Promise<void> {
    return this.#checkMounted();
  }

  async put(label: BodyLabel, body: Body): Promise<StorageRef> {
    await this.#room.check();
    const header = encodeHeader(label, { size: body.size, sha256: body.sha256, storedAtMs: Date.now() });
    if (body.size <= aloneAbove && !(body instanceof SpooledBody)) {
      return await this.#append({ group: label.group, header, bytes: await body.bytes() });
    }
    try {
      const store = {
        root: this.#root,
        instance: this.#instance,
        files: this.#files,
        folders: this.#folders,
      };
      return await storeAlone(store, header, body);
    } catch (error) {
      throw fullOr(error);
    }
  }

  async #append(body: Appended): Promise<StorageRef> {
    try {
      return await this.#writer.append(body);
    } catch (error) {
      if (!(error instanceof TooManyWaiting)) throw error;
      throw new Refusal("body_memory_full", error.message, { cause: error });
    }
  }

  async get(ref: StorageRef): Promise<Body | undefined> {
    const place = placeOf(ref);
    if (!place || this.#removal.isRemoved(place)) return undefined;
    const body = await this.#reader.read(place);
    if (!body) await this.#checkMounted();
    return body;
  }

  async remove(ref: StorageRef): Promise<void> {
    const place = placeOf(ref);
    if (!place) return;
    await this.#checkMounted();
    if (holdsOne(place.path)) await this.#removal.delete(place.path);
    else await this.#removal.remove(place);
  }

  /** Oldest first by segment, so within a minute. It also clears away what crashes left of removals and arrivals. */
  async *list(olderThan: Date): AsyncGenerator<StoredBody> {
    await this.#checkMounted();
    await removeStaleParts(spoolFolder(this.#root));
    const before = olderThan.getTime();
    let failure: { readonly error: unknown } | undefined;
    for await (const path of segmentPaths(this.#root)) {
      if (segmentTime(path) >= before) continue;
      try {
        yield* this.#listSegment(path, before);
      } catch (error) {
        // Deleted meanwhile, or before a crash that left its marks.
        if (isAbsence(error)) await this.#removal.clearAfter(path);
        else failure ??= { error };
      }
    }
    // One segment that cannot be read hides none of the others.
    if (failure !== undefined) throw failure.error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
    await this.#reader[Symbol.asyncDispose]();
  }

  async *#listSegment(path: string, before: number): AsyncGenerator<StoredBody> {
    const marks = holdsOne(path) ? new Set<number>() : await this.#removal.marks(path);
    let live = holdsOne(path);
    for await (const { label, offset, size, storedAtMs } of scanSegment(join(this.#root, path))) {
      if (marks.has(offset)) continue;
      live = true;
      if (storedAtMs >= before) continue;
      yield { id: label.id, ref: refOf({ path, offset, size }), label: () => Promise.resolve(label) };
    }
    if (!live) await this.#removal.deleteIfEmpty(path);
  }

  /** An unmounted folder is a store that is down, not one whose bodies are gone. */
  async #checkMounted(): Promise<void> {
    await stat(join(this.#root, formatFile));
  }
}

/** Writes the file that says what the folder is, or reads it when there is one. */
async function claimFolder(path: string, files: StoreFiles): Promise<void> {
  try {
    await using handle = await open(join(path, formatFile), "wx", 0o660);
    await handle.write(format);
    await handle.sync();
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    return await checkFormat(path);
  }
  await files.syncFolder(path);
}

/** Throws when a folder is something else than a store; one that is not there says nothing. */
async function checkFormat(path: string): Promise<void> {
  const file = join(path, formatFile);
  try {
    const found = await readFile(file, "utf8");
    // Empty is one that another process is just writing, or had no time to.
    if (found === format || found === "") return;
    throw new Error(`Cannot open the body store: current value of ${file} is ${JSON.stringify(found)}`);
  } catch (error) {
    if (!isAbsence(error)) throw error;
  }
}
