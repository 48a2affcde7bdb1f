import type { GroupId } from "../../lib/ids.ts";
import { Refusal } from "../../lib/refusal.ts";

/**
 * Memory for bodies that are arriving (ruling 3.2), shared among groups: one that holds some gets more only while at
 * least as much as it then has stays free. Alone it gets half, two get a third each, and however slowly one's clients
 * send, there is room for another's.
 */
export class GroupMemory {
  readonly #limit: number;
  /** Groups that hold some or wait for it; those that wait are served in turn. */
  readonly #groups = new Map<GroupId, Share>();
  #used = 0;
  #waiting = 0;

  /** A limit in bytes. */
  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  /** Bytes reserved now. */
  get used(): number {
    return this.#used;
  }

  /** Callers that wait for their turn. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Reserves bytes for a group until the result is disposed. Waits behind the group's own for at most `waitMs`, then
   * throws `Refusal("body_memory_full")`; throws the signal's reason when that is aborted first. What is more than the
   * whole limit is granted when everything is free, and then takes all of it.
   */
  async reserve(group: GroupId, bytes: number, waitMs: number, signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    const size = Math.min(Math.max(0, bytes), this.#limit);
    const share = this.#groups.get(group) ?? { held: 0, line: new Set() };
    this.#groups.set(group, share);
    if (share.line.size === 0 && this.#fits(share, size)) return this.#grant(group, share, size);
    return await this.#wait(group, share, size, waitMs, signal);
  }

  async #wait(
    group: GroupId,
    share: Share,
    size: number,
    waitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Disposable> {
    const { promise, resolve, reject } = Promise.withResolvers<Disposable>();
    const waiting: Waiting = { size, resolve };
    const giveUp = (error: unknown) => {
      if (share.line.delete(waiting)) {
        this.#waiting--;
        reject(error);
      }
      // The one that leaves may be the one its group waited behind.
      this.#serve();
      this.#forget(group, share);
    };
    const abort = () => giveUp(signal?.reason);
    const timer = setTimeout(() => giveUp(full(size, waitMs)), waitMs);
    share.line.add(waiting);
    this.#waiting++;
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  #fits(share: Share, size: number): boolean {
    const free = this.#limit - this.#used - size;
    return free >= 0 && (share.held === 0 || share.held + size <= free);
  }

  #grant(group: GroupId, share: Share, size: number): Disposable {
    this.#used += size;
    share.held += size;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#used -= size;
        share.held -= size;
        this.#serve();
        this.#forget(group, share);
      },
    };
  }

  /** One for each group that waits, and again until nothing fits any more. */
  #serve(): void {
    for (let served = true; served && this.#waiting > 0;) {
      served = false;
      for (const [group, share] of this.#groups) {
        const [first] = share.line;
        if (first === undefined || !this.#fits(share, first.size)) continue;
        share.line.delete(first);
        this.#waiting--;
        first.resolve(this.#grant(group, share, first.size));
        // Behind the others, who are looked at before it the next time.
        this.#groups.delete(group);
        this.#groups.set(group, share);
        served = true;
        break;
      }
    }
  }

  #forget(group: GroupId, share: Share): void {
    if (share.held === 0 && share.line.size === 0) this.#groups.delete(group);
  }
}

interface Share {
  held: number;
  readonly line: Set<Waiting>;
}

interface Waiting {
  readonly size: number;
  readonly resolve: (held: Disposable) => void;
}

function full(size: number, waitMs: number): Refusal {
  return new Refusal(
    "body_memory_full",
    `Cannot take a body of ${size} bytes now: no memory was free for ${waitMs} ms`,
  );
}
