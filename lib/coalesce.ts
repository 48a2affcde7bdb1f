/** What a batch may hold and how it is taken apart. */
export interface CoalesceOptions<Item> {
  readonly maxItems?: number;
  readonly maxBytes?: number;
  readonly bytesOf?: (item: Item) => number;
  /** Items of different lanes take turns, so that one lane never fills a batch while others wait. */
  readonly laneOf?: (item: Item) => string;
  /** Batches that may be in flight at a time. */
  readonly parallel?: number;
  /** Waiting items above which a call is refused at once. */
  readonly maxWaiting?: number;
  /** Told of every batch's size. */
  readonly onBatch?: (size: number) => void;
}

/** One item's end: a value, or the error that is its own. */
export type ItemResult<Result> = { readonly ok: true; readonly value: Result } | {
  readonly ok: false;
  readonly error: unknown;
};
