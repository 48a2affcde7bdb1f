const hidden = "[secret]";

/** A text that must not be shown: prints as [secret] in templates, JSON and inspections. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself, for the one place that needs it. */
  reveal(): string {
    return this.#text;
  }

  /** Whether there is nothing to hide: the setting was not given. */
  get isEmpty(): boolean {
    return this.#text === "";
  }

  toString(): string {
    return hidden;
  }

  toJSON(): string {
    return hidden;
  }

  [Symbol.for("Deno.customInspect")](): string {
    return hidden;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return hidden;
  }
}
