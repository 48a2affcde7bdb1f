/** What a batch may hold and how it is taken apart. */
export interface CoalesceOptions<Item> {
  /** Items of one batch at most; 500 when not given. */
  readonly maxItems?: number;
  /** Bytes of one batch at most (8 MiB when not given); an item larger than that is a batch of its own. */
  readonly maxBytes?: number;
  /** An item's share of `maxBytes`; nothing when not given. */
  readonly bytesOf?: (item: Item) => number;
  /** Items of different lanes take turns, so that one lane never fills a batch while others wait. */
  readonly laneOf?: (item: Item) => string;
  /** Batches that may be in flight at a time; 1 when not given. */
  readonly parallel?: number;
  /**
   * Under load (the batch before had four items or more) a batch begins this many milliseconds after the one
   * before at the earliest, so that batches grow where beginning one is dear; 0 when not given.
   */
  readonly gapMs?: number;
  /** Waiting items above which a call is refused at once with `TooManyWaiting`; 10,000 when not given. */
  readonly maxWaiting?: number;
  /** The same for the bytes that wait; 128 MiB when not given. */
  readonly maxWaitingBytes?: number;
  /** True for an error no item can be to blame for: it is everybody's at once, without trying halves. */
  readonly isOutage?: (error: unknown) => boolean;
  /** Told of the size of every batch that is run, halves included. */
  readonly onBatch?: (size: number) => void;
}

/** One item's end: a value, or the error that is its own. */
export type ItemResult<Result> = { readonly ok: true; readonly value: Result } | {
  readonly ok: false;
  readonly error: unknown;
};

/** More callers wait for a batch than may wait; nothing was done for this one. */
export class TooManyWaiting extends Error {
  override readonly name = "TooManyWaiting";
}

/**
 * Turns single calls into batches: while one batch is in flight the next gathers, and a lone item goes at once.
 * When `run` throws, the batch is run again in halves until the item at fault stands alone, so `run` must be
 * repeatable; three lone items failing in a row are an outage, and the rest of their batch fails with that error.
 */
export function coalesce<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly ItemResult<Result>[]>,
  options: CoalesceOptions<Item> = {},
): (item: Item) => Promise<Result> {
  const { maxItems = 500, maxBytes = 8 << 20, parallel = 1, isOutage = neverOutage } = options;
  const { maxWaiting = 10_000, maxWaitingBytes = 128 << 20, gapMs = 0 } = options;
  const lanes = new Lanes<Waiting<Item, Result>>();
  let inFlight = 0;
  let woken = false;
  let earliest = 0;

  function call(item: Item): Promise<Result> {
    const bytes = options.bytesOf?.(item) ?? 0;
    const tooMuch = lanes.size > 0 && lanes.bytes + bytes > maxWaitingBytes;
    if (tooMuch || lanes.size >= maxWaiting) {
      return Promise.reject(new TooManyWaiting(`Cannot wait for a batch: ${lanes.size} items already wait`));
    }
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    lanes.add(options.laneOf?.(item) ?? "", { item, bytes, resolve, reject });
    wake();
    return promise;
  }

  // A microtask later, so that callers who were released together go into the same batch.
  function wake(): void {
    if (woken || inFlight >= parallel) return;
    woken = true;
    const waitMs = gapMs > 0 && lanes.size < maxItems ? earliest - performance.now() : 0;
    if (waitMs > 0) setTimeout(depart, waitMs);
    else queueMicrotask(depart);
  }

  function depart(): void {
    woken = false;
    while (inFlight < parallel && lanes.size > 0) {
      const batch = lanes.take(maxItems, maxBytes);
      if (gapMs > 0) earliest = batch.length < crowd ? 0 : performance.now() + gapMs;
      void fly(batch);
    }
  }

  async function fly(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    inFlight++;
    await settle(batch, { aloneInARow: 0 });
    inFlight--;
    wake();
  }

  async function settle(batch: readonly Waiting<Item, Result>[], state: BatchState): Promise<void> {
    if (state.outage) return rejectAll(batch, state.outage.error);
    try {
      options.onBatch?.(batch.length);
      answer(batch, await run(batch.map((waiting) => waiting.item)));
      state.aloneInARow = 0;
    } catch (error) {
      if (batch.length === 1) state.aloneInARow++;
      if (isOutage(error) || state.aloneInARow >= 3) state.outage = { error };
      if (state.outage || batch.length === 1) return rejectAll(batch, error);
      const middle = batch.length >> 1;
      await settle(batch.slice(0, middle), state);
      await settle(batch.slice(middle), state);
    }
  }

  return call;
}

/** Callers who come one by one wait for nobody. */
const crowd = 4;

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly bytes: number;
  readonly resolve: (value: Result) => void;
  readonly reject: (error: unknown) => void;
}

interface BatchState {
  /** Runs of a lone item that failed since the last run that did not. */
  aloneInARow: number;
  outage?: { readonly error: unknown };
}

function neverOutage(): boolean {
  return false;
}

function rejectAll<Item, Result>(batch: readonly Waiting<Item, Result>[], error: unknown): void {
  for (const waiting of batch) waiting.reject(error);
}

function answer<Item, Result>(
  batch: readonly Waiting<Item, Result>[],
  results: readonly ItemResult<Result>[],
): void {
  // The work may have been done, so this is no case for halves.
  if (results.length !== batch.length) {
    const error = new Error(
      `Cannot answer a batch of ${batch.length} items: it gave ${results.length} results`,
    );
    for (const waiting of batch) waiting.reject(error);
    return;
  }
  results.forEach((result, index) => {
    const waiting = batch[index];
    if (result.ok) waiting?.resolve(result.value);
    else waiting?.reject(result.error);
  });
}

/** First in, first out within a lane; lanes take turns, also from one batch to the next. */
class Lanes<Entry extends { readonly bytes: number }> {
  /** Those that are empty stay for a while: see `Crowd` for why nothing should come and go in a Map. */
  readonly #byName = new Map<string, Fifo<Entry>>();
  /** The lanes with entries; one that was served goes to the end. */
  readonly #turns = new Fifo<Fifo<Entry>>();
  #mostKept = leastKept;
  size = 0;
  bytes = 0;

  add(name: string, entry: Entry): void {
    const lane = this.#byName.get(name) ?? this.#open(name);
    if (lane.first === undefined) this.#turns.push(lane);
    lane.push(entry);
    this.size++;
    this.bytes += entry.bytes;
  }

  take(maxItems: number, maxBytes: number): readonly Entry[] {
    const batch: Entry[] = [];
    let bytes = 0;
    while (batch.length < maxItems) {
      const lane = this.#turns.first;
      const next = lane?.first;
      if (!lane || !next || (batch.length > 0 && bytes + next.bytes > maxBytes)) break;
      batch.push(next);
      bytes += next.bytes;
      lane.shift();
      this.#turns.shift();
      if (lane.first !== undefined) this.#turns.push(lane);
    }
    this.size -= batch.length;
    this.bytes -= bytes;
    return batch;
  }

  #open(name: string): Fifo<Entry> {
    if (this.#byName.size >= this.#mostKept) {
      for (const [other, { first }] of this.#byName) if (first === undefined) this.#byName.delete(other);
      this.#mostKept = Math.max(leastKept, 2 * this.#byName.size);
    }
    const lane = new Fifo<Entry>();
    this.#byName.set(name, lane);
    return lane;
  }
}

/** Lanes, empty ones included, that are kept before the empty ones are forgotten. */
const leastKept = 1_000;

/** A queue that forgets what it gave without moving the rest each time. */
class Fifo<Entry> {
  #entries: (Entry | undefined)[] = [];
  #head = 0;

  get first(): Entry | undefined {
    return this.#entries[this.#head];
  }

  push(entry: Entry): void {
    this.#entries.push(entry);
  }

  shift(): void {
    this.#entries[this.#head++] = undefined;
    if (this.#head < 1024 && this.#head < this.#entries.length) return;
    if (this.#head * 2 < this.#entries.length) return;
    this.#entries = this.#entries.slice(this.#head);
    this.#head = 0;
  }
}
