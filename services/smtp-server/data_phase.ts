import { endOfHeader, type HeaderFacts, readHeader } from "../../lib/mime/headers.ts";
import { Refusal } from "../../lib/refusal.ts";
import type { Arrived, BodyWriter } from "../../lib/store/spool.ts";
import { LineGuard } from "./line_guard.ts";

/** What one message may be and where it goes. */
export interface DataPhaseOptions {
  /** Bytes of content; one more is `message_too_large`. */
  readonly maxSize: number;
  /** Bytes of the header block; one more is `headers_too_large`. */
  readonly maxHeader: number;
  readonly lineEndings: "refuse" | "repair";
  /** Judges the header (throws Refusal) and gives the writer of the body, which has what comes before it. */
  open(facts: HeaderFacts): BodyWriter;
}

/** One message received in full. */
export interface ReceivedMessage extends Arrived {
  readonly facts: HeaderFacts;
  /** Bytes of content, without what was added. */
  readonly size: number;
}

/** What `DataPhase.take` asks of its caller. */
export interface TakenChunk {
  /** Where the chunk goes on after the end mark; -1 while the message has not ended. */
  readonly next: number;
  /** Give no more before it resolves; it never rejects. */
  readonly wait: Promise<void> | undefined;
}

/** Pieces smaller than this are gathered, so that a byte a packet costs neither a write nor a buffer each. */
const smallPiece = 4096;
const gatherSize = 32 * 1024;

const flawSentences = {
  refuse:
    "Lines must end with CR LF: the message holds a bare CR or LF, or a dot beside NUL where a line begins",
  repair: "The message holds a dot beside NUL where a line begins",
};

/** Receives the content of one DATA. A message that is refused on the way is still read to its true end. */
export class DataPhase {
  readonly #options: DataPhaseOptions;
  readonly #guard: LineGuard;
  #writer: BodyWriter | undefined;
  #facts: HeaderFacts | undefined;
  #header: Uint8Array = nothing;
  #gathered: Uint8Array = nothing;
  #gatheredLength = 0;
  #size = 0;
  #isGivenUp = false;
  #wireBytes = 0;
  #waiting: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(options: DataPhaseOptions) {
    this.#options = options;
    this.#guard = new LineGuard(options.lineEndings);
  }

  /** Bytes taken from the socket so far. */
  get wireBytes(): number {
    return this.#wireBytes;
  }

  /** So far beyond the limit that waiting for the end is not worth it: answer and hang up. */
  get isHopeless(): boolean {
    return this.#isGivenUp || this.#size > 4 * this.#options.maxSize + 1_048_576;
  }

  /** Takes a chunk from the given position on; the chunk may be rewritten. */
  take(chunk: Uint8Array, from: number): TakenChunk {
    const { content, next } = this.#guard.take(chunk, from);
    this.#wireBytes += (next < 0 ? chunk.length : next) - from;
    this.#size += content.length;
    if (this.#failure === undefined) {
      const refusal = this.#refusal();
      if (refusal !== undefined) this.#fail(refusal);
      else if (next >= 0 && this.#gatheredLength === 0) this.#pass(content);
      else this.#gather(content);
    }
    return { next, wait: this.#waiting };
  }

  /** Ends the message before its end has come: `finish` throws the refusal. */
  giveUp(refusal: Refusal): void {
    this.#isGivenUp = true;
    if (this.#failure === undefined) this.#fail(refusal);
  }

  /** The whole message, after the end mark; throws the Refusal, or what the writer threw. */
  async finish(): Promise<ReceivedMessage> {
    if (this.#failure === undefined) this.#flushGathered();
    if (this.#failure === undefined && this.#writer === undefined) this.#openBody(this.#header, true);
    while (this.#waiting !== undefined) await this.#waiting;
    const writer = this.#writer;
    if (this.#failure !== undefined || writer === undefined || this.#facts === undefined) {
      await this.abort();
      throw this.#refusal() ?? this.#failure?.error ??
        new Error("Cannot finish a message that was never opened");
    }
    this.#writer = undefined;
    return { ...await writer.finish(), facts: this.#facts, size: this.#size };
  }

  /** Drops what was received; may be called at any time and more than once. */
  async abort(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    this.#failure ??= { error: new Error("Cannot go on with an aborted message") };
    while (this.#waiting !== undefined) await this.#waiting;
    await writer?.abort();
  }

  #refusal(): Refusal | undefined {
    const { maxSize } = this.#options;
    if (this.#size > maxSize) {
      return new Refusal("message_too_large", `Message is larger than the limit of ${maxSize} bytes`);
    }
    if (this.#guard.flaws > 0) {
      return new Refusal("bare_line_ending", flawSentences[this.#options.lineEndings]);
    }
    return undefined;
  }

  #fail(error: unknown): void {
    this.#failure = { error };
    this.#header = this.#gathered = nothing;
    const writer = this.#writer;
    if (writer === undefined) return;
    this.#writer = undefined;
    this.#after(() => writer.abort());
  }

  #gather(content: Uint8Array): void {
    if (this.#gatheredLength + content.length > gatherSize || content.length >= smallPiece) {
      this.#flushGathered();
    }
    if (content.length >= smallPiece) return this.#pass(content);
    if (this.#gathered.length === 0) this.#gathered = new Uint8Array(gatherSize);
    this.#gathered.set(content, this.#gatheredLength);
    this.#gatheredLength += content.length;
  }

  #flushGathered(): void {
    if (this.#gatheredLength === 0) return;
    const content = this.#gathered.subarray(0, this.#gatheredLength);
    this.#gatheredLength = 0;
    // A writer that makes us wait still reads the bytes: gather the next ones elsewhere.
    this.#gathered = nothing;
    this.#pass(content);
  }

  #pass(content: Uint8Array): void {
    if (this.#failure !== undefined) return;
    if (this.#writer !== undefined) return this.#write(content);
    const known = this.#header.length;
    const header = known === 0 ? content : concatenated(this.#header, content);
    const end = endOfHeader(header, Math.max(0, known - 3));
    if (end >= 0) return this.#openBody(header, false, end);
    if (header.length > this.#options.maxHeader) return this.#fail(this.#headersTooLarge());
    this.#header = known === 0 ? content.slice() : header;
  }

  #openBody(header: Uint8Array, isAll: boolean, end = header.length): void {
    if (end > this.#options.maxHeader) return this.#fail(this.#headersTooLarge());
    try {
      this.#facts = readHeader(header.subarray(0, end));
      this.#writer = this.#options.open(this.#facts);
      this.#header = nothing;
    } catch (error) {
      return this.#fail(error);
    }
    if (!isAll || header.length > 0) this.#write(header);
  }

  #headersTooLarge(): Refusal {
    return new Refusal(
      "headers_too_large",
      `Header is larger than the limit of ${this.#options.maxHeader} bytes`,
    );
  }

  #write(content: Uint8Array): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    if (this.#waiting !== undefined) return this.#after(() => writer.write(content));
    try {
      const pending = writer.write(content);
      if (pending !== undefined) this.#after(() => pending);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** One step of the writer after another; a step that fails fails the message. */
  #after(step: () => Promise<void> | undefined): void {
    const mine = this.#next(this.#waiting, step).finally(() => {
      if (this.#waiting === mine) this.#waiting = undefined;
    });
    this.#waiting = mine;
  }

  async #next(before: Promise<void> | undefined, step: () => Promise<void> | undefined): Promise<void> {
    try {
      await before;
      await step();
    } catch (error) {
      this.#failure ??= { error };
    }
  }
}
const nothing = new Uint8Array(0);

function concatenated(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
