import type { GroupId } from "../ids.ts";

/** A lane to read from, and the lowest id that may still be there. */
export interface LaneCursor {
  readonly group: GroupId;
  readonly from: number;
}

/** The first entry of a lane that was seen, and the last. */
export interface LaneNews {
  readonly group: GroupId;
  readonly firstId: number;
  readonly lastId: number;
}

interface Lane {
  from: number;
  /** When news of it last came, as `began` counts. */
  heardAt: number;
}

const lookBackEveryMs = 100;
const lookBackMs = 1_000;

/**
 * What one process remembers of an append-only table that it reads by seeking: which lanes have entries, from where
 * to read each, and up to where it knows all. Entries that became visible late (their ids lie before what was read
 * already) are met by looking back a second, ten times a second.
 */
export class LaneCursors {
  /** In order of turns: who was served last stands last. */
  readonly #lanes = new Map<GroupId, Lane>();
  readonly #marks: { readonly at: number; readonly id: number }[] = [];
  #knownTo = 0;
  #lookedBackAt = -Infinity;
  #moment = 0;

  /** The next moment, to be handed to `served` with what was asked for at it. */
  began(): number {
    return ++this.#moment;
  }

  /** The lanes whose turn it is, longest waiting first. */
  next(max: number, skip: ReadonlySet<GroupId>): readonly LaneCursor[] {
    const chosen: LaneCursor[] = [];
    for (const [group, lane] of this.#lanes) {
      if (chosen.length === max) break;
      if (!skip.has(group)) chosen.push({ group, from: lane.from });
    }
    return chosen;
  }

  /** From where to look for news at `nowMs`: behind it every entry is known. */
  newsAfter(nowMs: number): number {
    if (nowMs - this.#lookedBackAt < lookBackEveryMs) return this.#knownTo;
    this.#lookedBackAt = nowMs;
    this.#marks.push({ at: nowMs, id: this.#knownTo });
    while (this.#marks.length > 1 && (this.#marks[1]?.at ?? nowMs) <= nowMs - lookBackMs) this.#marks.shift();
    return this.#marks[0]?.id ?? this.#knownTo;
  }

  /**
   * What came of asking for up to `share` entries of each lane: the ids that were handed out. A lane that gave less is
   * empty, unless news of it came since `began`; `all` is false when lanes at the end may not have been looked at.
   */
  served(
    began: number,
    lanes: readonly LaneCursor[],
    share: number,
    ids: ReadonlyMap<GroupId, readonly number[]>,
    all: boolean,
  ): void {
    const last = all ? lanes.length : lanes.findLastIndex(({ group }) => ids.has(group));
    lanes.forEach(({ group }, at) => {
      const lane = this.#lanes.get(group);
      if (lane === undefined || at > last) return;
      const given = ids.get(group) ?? [];
      const known = at < last || all;
      if (known && given.length < share && lane.heardAt <= began) {
        this.#lanes.delete(group);
      } else if (given.length > 0) {
        lane.from = Math.max(lane.from, Math.max(...given) + 1);
        this.#lanes.delete(group);
        this.#lanes.set(group, lane);
      }
    });
  }

  /** Entries that were seen behind `newsAfter`. */
  heard(news: readonly LaneNews[]): void {
    for (const { group, firstId, lastId } of news) {
      const lane = this.#lanes.get(group);
      const heardAt = ++this.#moment;
      if (lane === undefined) this.#lanes.set(group, { from: firstId, heardAt });
      else Object.assign(lane, { from: Math.min(lane.from, firstId), heardAt });
      this.#knownTo = Math.max(this.#knownTo, lastId);
    }
  }

  /** The heads of all lanes, read from the start of the table, and the id behind which nothing was looked for. */
  scanned(heads: readonly Omit<LaneNews, "lastId">[], knownTo: number): void {
    for (const { group, firstId } of heads) {
      const lane = this.#lanes.get(group);
      const heardAt = ++this.#moment;
      if (lane === undefined) this.#lanes.set(group, { from: firstId, heardAt });
      else Object.assign(lane, { from: Math.min(lane.from, firstId), heardAt });
    }
    this.#knownTo = knownTo;
  }

  /** The lowest id that may still be there. */
  lowest(): number {
    let lowest = this.#marks[0]?.id ?? 0;
    for (const { from } of this.#lanes.values()) lowest = Math.min(lowest, from);
    return lowest;
  }

  /** Everything is to be learnt again. */
  forget(): void {
    this.#lanes.clear();
    this.#marks.length = 0;
    this.#knownTo = 0;
    this.#lookedBackAt = -Infinity;
  }
}
