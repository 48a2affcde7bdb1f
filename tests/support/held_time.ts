/** Time limits that end when a test says so, and by themselves never. */
export class HeldTime {
  readonly #ends = new Set<() => void>();

  /** As `EspIo.after`. */
  readonly after = (_ms: number, end: () => void): () => void => {
    this.#ends.add(end);
    return () => void this.#ends.delete(end);
  };

  /** The limits that were set and not called off are over. */
  end(): void {
    const ends = [...this.#ends];
    this.#ends.clear();
    for (const end of ends) end();
  }
}
