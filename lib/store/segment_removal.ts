import { type FileHandle, open, readFile, rm, rmdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { coalesce, type ItemResult } from "../coalesce.ts";
import { codeOf } from "./disk_errors.ts";
import { isAbsence } from "./segment_reader.ts";
import { folderOf, type SegmentPlace, segmentTime } from "./segment_ref.ts";
import { scanSegment } from "./segment_scan.ts";
import { segmentLifeMs } from "./segment_writer.ts";

// A removed body is marked by a line in a file beside its segment, `<segment>.gone`; the segment is deleted when
// every body in it is marked. No batch of a segment is acknowledged at an age above segmentLifeMs, so an old segment
// holds all the bodies it ever will, and deleting it needs no word with its writer. The margin is for clocks of other
// hosts that differ.
const settledMs = segmentLifeMs + 480_000;

/** Marks bodies of shared segments as removed, and deletes segments that hold no other. */
export class SegmentRemoval {
  readonly #root: string;
  readonly #now: () => number;
  readonly #onDelete: (path: string) => void;
  readonly #removed = new Map<string, Set<number>>();
  /** What all marks of a settled segment would take: less is certainly not all of them. */
  readonly #marksNeeded = new Map<string, number>();
  /** Segments with marks that were too young to be looked through. */
  readonly #young = new Set<string>();

  /** The mark is durable when it resolves; marking what is gone succeeds. */
  readonly remove: (place: SegmentPlace) => Promise<void>;

  /** `now` is the time of day in milliseconds since 1970; `onDelete` is told before a segment's file is deleted. */
  constructor(root: string, onDelete: (path: string) => void, now: () => number = Date.now) {
    this.#root = root;
    this.#now = now;
    this.#onDelete = onDelete;
    this.remove = coalesce((places: readonly SegmentPlace[]) => this.#markAll(places));
  }

  /** Whether this process has marked a body, as far as it remembers. */
  isRemoved({ path, offset }: SegmentPlace): boolean {
    return this.#removed.get(path)?.has(offset) ?? false;
  }

  /** The offsets that any process has marked. */
  async marks(path: string): Promise<ReadonlySet<number>> {
    const offsets = new Set<number>();
    for (const line of (await this.#marksText(path)).split("\n")) {
      // Anything else is the torn end of a line, and a body too few is removed rather than one too many.
      const offset = /^(\d{1,15})\+\d{1,15};$/.exec(line)?.[1];
      if (offset !== undefined) offsets.add(Number(offset));
    }
    return offsets;
  }

  /** Deletes a segment if it is settled and every body in it is marked. */
  async deleteIfEmpty(path: string): Promise<void> {
    if (!this.#isSettled(path)) return remember(this.#young, path);
    this.#young.delete(path);
    try {
      if (await this.#sizeOfMarks(path) < await this.#needed(path)) return;
      const marks = await this.marks(path);
      let hidden = false;
      for await (const { offset } of scanSegment(join(this.#root, path), () => hidden = true)) {
        if (!marks.has(offset)) return;
      }
      // Bodies behind damage may be alive although a scan does not reach them.
      if (!hidden) await this.delete(path);
    } catch (error) {
      if (!isAbsence(error)) throw error;
      await this.clearAfter(path);
    }
  }

  /** Removes the marks of a segment that is gone; never the segment, in case it was out of reach for a moment. */
  async clearAfter(path: string): Promise<void> {
    await rm(this.#marksPath(path), { force: true });
    await this.#pruneFolders(path);
  }

  /** Deletes a segment whatever is in it, with its marks and with folders that are then empty. */
  async delete(path: string): Promise<void> {
    this.#onDelete(path);
    await rm(join(this.#root, path), { force: true });
    this.#marksNeeded.delete(path);
    this.#removed.delete(path);
    await this.clearAfter(path);
  }

  async #markAll(places: readonly SegmentPlace[]): Promise<readonly ItemResult<void>[]> {
    const ends = new Map<string, ItemResult<void>>();
    for (const [path, own] of Map.groupBy(places, (place) => place.path)) {
      ends.set(path, await this.#markIn(path, own));
    }
    for (const path of [...this.#young]) if (this.#isSettled(path)) await this.deleteIfEmpty(path);
    return places.map(({ path }) => ends.get(path) ?? { ok: true, value: undefined });
  }

  async #markIn(path: string, places: readonly SegmentPlace[]): Promise<ItemResult<void>> {
    try {
      await stat(join(this.#root, path)); // no marks for a segment that is gone
      await appendLines(this.#marksPath(path), places.map(({ offset, size }) => `${offset}+${size};`));
      for (const { offset } of places) this.#noteRemoved(path, offset);
      await this.deleteIfEmpty(path);
      return { ok: true, value: undefined };
    } catch (error) {
      return isAbsence(error) ? { ok: true, value: undefined } : { ok: false, error };
    }
  }

  #noteRemoved(path: string, offset: number): void {
    let offsets = this.#removed.get(path);
    if (!offsets) {
      forgetOldest(this.#removed);
      this.#removed.set(path, offsets = new Set());
    }
    offsets.add(offset);
  }

  #isSettled(path: string): boolean {
    return this.#now() - segmentTime(path) > settledMs;
  }

  async #needed(path: string): Promise<number> {
    let needed = this.#marksNeeded.get(path);
    if (needed !== undefined) return needed;
    needed = 0;
    for await (const { offset, size } of scanSegment(join(this.#root, path))) {
      needed += `${offset}+${size};`.length;
    }
    forgetOldest(this.#marksNeeded);
    this.#marksNeeded.set(path, needed);
    return needed;
  }

  #marksPath(path: string): string {
    return join(this.#root, `${path}.gone`);
  }

  async #sizeOfMarks(path: string): Promise<number> {
    try {
      return (await stat(this.#marksPath(path))).size;
    } catch (error) {
      if (isAbsence(error)) return 0;
      throw error;
    }
  }

  async #marksText(path: string): Promise<string> {
    try {
      return await readFile(this.#marksPath(path), "utf8");
    } catch (error) {
      if (isAbsence(error)) return "";
      throw error;
    }
  }

  /** Removes the folders of the hour and the day when they are empty and so old that nobody writes there. */
  async #pruneFolders(path: string): Promise<void> {
    const hour = folderOf(path);
    const begun = Date.parse(hour.replace(/^(\d+)\/(\d+)\/(\d+)\/(\d+)$/, "$1-$2-$3T$4:00:00Z"));
    if (this.#now() - begun < 3 * 3_600_000) return;
    if (!await removedEmpty(join(this.#root, hour))) return;
    if (this.#now() - begun > 48 * 3_600_000) await removedEmpty(join(this.#root, folderOf(hour)));
  }
}

async function removedEmpty(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
    return true;
  } catch (error) {
    if (isAbsence(error) || codeOf(error) === "ENOTEMPTY" || codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Each line begins with a line end, so that a torn line before it cannot run into it. */
async function appendLines(path: string, lines: readonly string[]): Promise<void> {
  const file: FileHandle = await open(path, "a", 0o660);
  try {
    await file.write(lines.map((line) => `\n${line}`).join(""));
    await file.datasync();
  } finally {
    await file.close();
  }
}

function remember(paths: Set<string>, path: string): void {
  if (paths.size < 10_000) paths.add(path);
}

/** Keeps a memory bounded; what is forgotten is only read again. */
function forgetOldest(memory: Map<string, unknown>): void {
  const [oldest] = memory.size >= 1000 ? memory.keys() : [];
  if (oldest !== undefined) memory.delete(oldest);
}
