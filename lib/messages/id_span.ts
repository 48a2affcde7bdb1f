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
