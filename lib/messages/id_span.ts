import type { MessageId } from "../ids.ts";

/** Some ids, the smallest and the largest of them. */
export interface IdSpan {
  readonly ids: readonly MessageId[];
  readonly first: MessageId;
  readonly last: MessageId;
}

/**
 * The span of ids that is not empty. A statement names it for each partitioned table besides the ids themselves: only
 * by plain comparisons with parameters does a plan made once leave out the partitions that cannot hold them.
 *
 * A statement that locks or changes rows in several steps joins these tables by an array, `m.id = any(array_fill(x.id,
 * '{1}'))`, by which an index is used and no partition is left out in passing: where both are done, PostgreSQL 18
 * crashes when rows change under two of the steps (use after free in the recheck; mended there in October 2026).
 *
 * Where it names the span it names all the ids besides, `m.id = any($ids)`, wherever it reads: else a plan may read
 * whatever lies between the first and the last. Each id is then compared with each, so that there should not be many:
 * see `portionsOf`.
 */
export function spanOf(ids: readonly MessageId[]): IdSpan {
  const [one] = ids;
  if (one === undefined) throw new Error("Cannot name the span of no ids");
  let [first, last] = [one, one];
  for (const id of ids) {
    if (id < first) first = id;
    if (id > last) last = id;
  }
  return { ids, first, last };
}

/** The ids in portions that are small enough for a statement that compares each with each. */
export function* portionsOf(ids: readonly MessageId[]): Generator<readonly MessageId[]> {
  for (let at = 0; at < ids.length; at += mostIds) yield ids.slice(at, at + mostIds);
}

/** So many ids a statement that compares each with each should name at most. */
export const mostIds = 100;
