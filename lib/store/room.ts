import { statfs } from "node:fs/promises";
import { Late, withinTime } from "../deadlines.ts";
import { Refusal } from "../refusal.ts";

/** Watches the room that is left where bodies are kept (ruling 3.7). */
export class Room {
  readonly #path: string;
  readonly #minFree: number;
  readonly #free: (path: string) => Promise<number>;
  readonly #now: () => number;
  #looked = -Infinity;
  #looking: Promise<number> | undefined;
  #isUnderWay = false;

  /** `minFree` in bytes; `free` tells how many an ordinary user may still write, `now` is in milliseconds. */
  constructor(path: string, minFree: number, free = freeBytes, now: () => number = () => performance.now()) {
    this.#path = path;
    this.#minFree = minFree;
    this.#free = free;
    this.#now = now;
  }

  /**
   * Throws `Refusal("body_store_full")` when less than `minFree` is left, anything else when that cannot be told within
   * two seconds; looks at most once a second, and not again while a look hangs.
   */
  async check(): Promise<void> {
    const ageMs = this.#now() - this.#looked;
    if (!this.#looking || (ageMs >= 1000 && !this.#isUnderWay)) this.#looking = this.#look();
    else if (this.#isUnderWay && ageMs >= longestLookMs) {
      throw new Late(`No answer within ${longestLookMs} ms`);
    }
    const free = this.#isUnderWay ? await withinTime(longestLookMs, this.#looking) : await this.#looking;
    if (free >= this.#minFree) return;
    // Clients read the message; how much is free is for the log alone.
    throw new Refusal("body_store_full", "Cannot store a body: no room is left", {
      cause: new Error(`${free} bytes are free where ${this.#minFree} are to stay free`),
    });
  }

  async #look(): Promise<number> {
    this.#looked = this.#now();
    this.#isUnderWay = true;
    try {
      return await this.#free(this.#path);
    } catch (error) {
      this.#looking = undefined;
      throw error;
    } finally {
      this.#isUnderWay = false;
    }
  }
}

const longestLookMs = 2_000;

/** How many bytes an ordinary user may still write to the file system of a path. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}
