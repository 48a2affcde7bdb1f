import type { GroupId } from "../../lib/ids.ts";

const slowMs = 2000;
const rememberMs = 60_000;

interface Waiting {
  readonly group: GroupId;
  readonly give: (slot: Disposable) => void;
  readonly refuse: (reason: unknown) => void;
}

/**
 * A number of places that groups share: a free one goes to the group that holds fewest. A group whose work was slow
 * of late never takes the last ones, so that another's next message finds a place.
 */
export class Slots {
  readonly #limit: number;
  readonly #now: () => number;
  readonly #held = new Map<GroupId, number>();
  readonly #slowAt = new Map<GroupId, number>();
  /** Who waits longest comes first. */
  #waiting: Waiting[] = [];
  #used = 0;
  #closed: { readonly reason: unknown } | undefined;

  /** `now` is a clock in milliseconds that never goes back. */
  constructor(limit: number, now: () => number = () => performance.now()) {
    this.#limit = limit;
    this.#now = now;
  }

  /** Places taken now. */
  get used(): number {
    return this.#used;
  }

  /** Resolves with a place that is held until it is disposed; throws the signal's reason when that comes first. */
  async take(group: GroupId, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#closed !== undefined) throw this.#closed.reason;
    if (this.#waiting.length === 0 && this.#mayHave(group)) return this.#grant(group);
    const { promise, resolve, reject } = Promise.withResolvers<Disposable>();
    const waiting: Waiting = { group, give: resolve, refuse: reject };
    const leave = () => {
      if (this.#leave(waiting)) reject(signal.reason);
    };
    this.#waiting.push(waiting);
    signal.addEventListener("abort", leave);
    try {
      this.#serve();
      return await promise;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  /** Gives no more places: whoever waits or asks is refused with this reason. */
  close(reason: unknown): void {
    this.#closed = { reason };
    for (const waiting of this.#waiting) waiting.refuse(reason);
    this.#waiting = [];
  }

  #mayHave(group: GroupId): boolean {
    const free = this.#limit - this.#used;
    const held = this.#held.get(group) ?? 0;
    return free > 0 && (held === 0 || !this.#isSlow(group) || held < 3 * free);
  }

  #isSlow(group: GroupId): boolean {
    const at = this.#slowAt.get(group);
    if (at === undefined) return false;
    if (this.#now() - at < rememberMs) return true;
    this.#slowAt.delete(group);
    return false;
  }

  #grant(group: GroupId): Disposable {
    const since = this.#now();
    this.#used++;
    this.#held.set(group, (this.#held.get(group) ?? 0) + 1);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#used--;
        const left = (this.#held.get(group) ?? 1) - 1;
        if (left === 0) this.#held.delete(group);
        else this.#held.set(group, left);
        this.#noteTime(group, this.#now() - since);
        this.#serve();
      },
    };
  }

  #noteTime(group: GroupId, tookMs: number): void {
    if (tookMs < slowMs) return;
    this.#slowAt.delete(group);
    this.#slowAt.set(group, this.#now());
    const oldest = this.#slowAt.keys().next().value;
    if (this.#slowAt.size > 1000 && oldest !== undefined) this.#slowAt.delete(oldest);
  }

  #serve(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      this.#leave(next);
      next.give(this.#grant(next.group));
    }
  }

  #leave(waiting: Waiting): boolean {
    const at = this.#waiting.indexOf(waiting);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at >= 0;
  }

  /** Of those that may have a place, the first of the group that holds fewest. */
  #next(): Waiting | undefined {
    if (this.#used >= this.#limit) return undefined;
    let best: Waiting | undefined;
    let fewest = Infinity;
    for (const waiting of this.#waiting) {
      const held = this.#held.get(waiting.group) ?? 0;
      if (held < fewest && this.#mayHave(waiting.group)) [best, fewest] = [waiting, held];
    }
    return best;
  }
}
