import type { RefusedStep } from "./intake.ts";

/** Refusals of other commands are nobody's mail, and their lines may hold anything. */
const submitting: ReadonlySet<string> = new Set(["AUTH", "MAIL", "RCPT", "DATA"]);
const longestCommand = 512;

/** Remembers what the client asks for just now, so that a refusal can be told in full. */
export class CommandTrace {
  #verb = "";
  #line: Uint8Array | undefined;
  #mechanism = "";
  #tried: string | undefined;
  #sender: string | undefined;

  /** A command begins. */
  begin(verb: string): void {
    this.#verb = verb;
    this.#line = undefined;
    this.#mechanism = "";
    this.#sender = undefined;
    if (verb === "AUTH") this.#tried = undefined;
  }

  /** MAIL and RCPT as given; the bytes are looked at before the next command only. */
  given(line: Uint8Array): void {
    this.#line = line;
  }

  /** AUTH names its mechanism. */
  authBy(mechanism: string): void {
    this.#mechanism = mechanism;
  }

  /** AUTH failed for this name. */
  failedFor(username: string): void {
    this.#tried = username;
  }

  /** DATA begins, of a message from this envelope sender. */
  dataOf(sender: string): void {
    this.#sender = sender;
  }

  /** Nothing is asked for: what is said now refuses nothing. */
  end(): void {
    this.#verb = "";
  }

  /** What is being refused; undefined where that is neither a login nor mail. */
  refused(
    step: Omit<RefusedStep, "command" | "tried" | "client">,
    wire: Pick<RefusedStep, "client">,
  ): RefusedStep | undefined {
    if (!submitting.has(this.#verb)) return undefined;
    return {
      ...step,
      command: this.#command(),
      tried: this.#tried,
      sender: step.sender ?? (this.#verb === "DATA" ? this.#sender : undefined),
      client: wire.client,
    };
  }

  #command(): string {
    if (this.#verb === "AUTH") return `AUTH ${this.#mechanism}`.trimEnd();
    if (this.#line === undefined) return this.#verb;
    return new TextDecoder().decode(this.#line.subarray(0, longestCommand));
  }
}
