/**
 * What is under way now, in no order; for what comes and goes by the thousand a second. A Set would do, but V8 leaves
 * each table that a Set or Map gives up with a reference to the next: once one of them has grown old, all that passes
 * through lives on until the next full collection, and collecting costs a multiple.
 */
export class Crowd<Item extends object> implements Iterable<Item> {
  readonly #places: (Item | undefined)[] = [];
  readonly #free: number[] = [];

  get size(): number {
    return this.#places.length - this.#free.length;
  }

  /** Answers the item's place, which it names when it leaves. */
  enter(item: Item): number {
    const place = this.#free.pop() ?? this.#places.length;
    this.#places[place] = item;
    return place;
  }

  /** False when the item has left before. */
  leave(item: Item, place: number): boolean {
    if (this.#places[place] !== item) return false;
    this.#places[place] = undefined;
    this.#free.push(place);
    return true;
  }

  *[Symbol.iterator](): Iterator<Item> {
    for (const item of this.#places) if (item !== undefined) yield item;
  }
}

/** The same for what is known by a key, in place of a Map; `spread` gives a whole number, seldom the same one. */
export class KeyedCrowd<Key extends string | number, Item> {
  readonly #spread: (key: Key) => number;
  readonly #shelves: (readonly [Key, Item])[][] = Array.from({ length: 256 }, () => []);
  #size = 0;

  constructor(spread: (key: Key) => number) {
    this.#spread = spread;
  }

  get size(): number {
    return this.#size;
  }

  get(key: Key): Item | undefined {
    return this.#shelf(key).find(([other]) => other === key)?.[1];
  }

  /** The key must not be there yet. */
  enter(key: Key, item: Item): void {
    this.#shelf(key).push([key, item]);
    this.#size++;
  }

  /** False when it was not there. */
  leave(key: Key): boolean {
    const shelf = this.#shelf(key);
    const at = shelf.findIndex(([other]) => other === key);
    if (at < 0) return false;
    shelf.splice(at, 1);
    this.#size--;
    return true;
  }

  *entries(): Iterable<readonly [Key, Item]> {
    for (const shelf of this.#shelves) yield* shelf;
  }

  #shelf(key: Key): (readonly [Key, Item])[] {
    const shelf = this.#shelves[this.#spread(key) % this.#shelves.length];
    if (shelf === undefined) throw new RangeError(`Cannot find a place for ${key}`);
    return shelf;
  }
}
