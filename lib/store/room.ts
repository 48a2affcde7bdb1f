import { statfs } from "node:fs/promises";
import { Refusal } from "../refusal.ts";

/** Watches the room that is left where bodies are kept (ruling 3.7). */
export class Room {
  readonly #path: string;
  readonly #minFree: number;
  readonly #free: (path: string) => Promise<number>;
  readonly #now: () => number;
  #looked = -Infinity;
  #looking: Promise<number> | undefined;

  /** `minFree` in bytes; `free` tells how many an ordinary user may still write, `now` is in milliseconds. */
  constructor(path: string, minFree: number, free = freeBytes, now: () => number = () => performance.now()) {
    this.#path = path;
    this.#minFree = minFree;
    this.#free = free;
    this.#now = now;
  }

  /** Throws `Refusal("body_store_full")` when less than `minFree` is left; looks at most once a second. */
  async check(): Promise<void> {
    if (!this.#looking || this.#now() - this.#looked >= 1000) {
      this.#looked = this.#now();
      this.#looking = this.#free(this.#path);
      this.#looking.catch(() => this.#looking = undefined);
    }
    const free = await this.#looking;
    if (free >= this.#minFree) return;
    // Clients read the message; how much is free is for the log alone.
    throw new Refusal("body_store_full", "Cannot store a body: no room is left", {
      cause: new Error(`${free} bytes are free where ${this.#minFree} are to stay free`),
    });
  }
}

/** How many bytes an ordinary user may still write to the file system of a path. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/** The same error, or `Refusal("body_store_full")` for one that says that the disk or the quota is full. */
export function fullOr(error: unknown): unknown {
  const code = codeOf(error);
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new Refusal("body_store_full", `Cannot store a body: the disk is full (${code})`, { cause: error });
}

/** The operating system's name of an error, e.g. `ENOENT`; undefined for any other error. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
