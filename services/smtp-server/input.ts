import { EventEmitter } from "node:events";
import { Refusal } from "../../lib/refusal.ts";
import type { DataPhase } from "./data_phase.ts";
import { Pace } from "./pace.ts";
import type { ProtocolReply } from "./replies.ts";
import { freeMemory, type Tap } from "./tap.ts";

/** What the input of a connection tells its owner. */
export interface InputHost {
  /** One command line without its CR LF; no other comes before `done` is called. */
  command(line: Uint8Array, done: () => void): void;
  /** The end mark of the message begun with `startData`; nothing more comes before `done` is called. */
  dataEnded(done: () => void): void;
  /** A line that nobody sends in good faith; the connection is to be closed. */
  broken(reply: ProtocolReply): void;
  /** Everything that has arrived is worked off: now is the time to write the replies, in one piece. */
  idle(): void;
  /** The client has sent its last byte, and all of it is worked off. */
  ended(): void;
}

const LF = 10;
const CR = 13;
/** An AUTH response may have 12,288 octets (RFC 4954 section 4), its command comes on top. */
const longestLine = 12_600;
/** Commands worked off before other connections get their turn. */
const commandsAtOnce = 50;
/** What may wait unread while a command or a disk is waited for: so we see a client leave that waits as it should. */
const mostWaiting = { bytes: 16_384, chunks: 16 } as const;

/**
 * The receiving side of a connection, a destination of `pipe()`: cuts commands, hands message bytes to a DataPhase.
 * It never asks the pipe for a pause, it closes the tap; what it holds unread stays below 128 KiB.
 */
export class Input extends EventEmitter {
  readonly #host: InputHost;
  readonly #tap: Pick<Tap, "open" | "close" | "bytesRead">;
  /** Set by the library when the connection ends or is upgraded: what was received is dropped unread. */
  isClosed = false;
  #chunk: Uint8Array = nothing;
  #at = 0;
  /** The chunk is all content of a message that goes on: once it has been taken nobody looks at it again. */
  #isMessageOnly = false;
  #waitingChunks: Uint8Array[] = [];
  #waitingBytes = 0;
  #line: Uint8Array = nothing;
  #phase: DataPhase | undefined;
  #isBusy = false;
  #isRunning = false;
  #hasEnded = false;
  #pace = new Pace();
  #heldMs = 0;
  #isHolding = false;
  #commands = 0;
  /** What had come over the wire when the message began. */
  #wireBefore = 0;
  #maxFraming = 0;

  constructor(host: InputHost, tap: Pick<Tap, "open" | "close" | "bytesRead">) {
    super();
    this.#host = host;
    this.#tap = tap;
  }

  /** The message being received, if any. */
  get phase(): DataPhase | undefined {
    return this.#phase;
  }

  /** Milliseconds for which the message's client was kept waiting by us. */
  get heldMs(): number {
    return this.#heldMs;
  }

  /** The message's writer makes us wait: the client's silence is our fault. */
  get isHolding(): boolean {
    return this.#isHolding;
  }

  /** A command or a message is being worked on, so the client waits for us. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** From here on the bytes are a message's; of TLS's own it may have so many, or else must be mostly content. */
  startData(phase: DataPhase, maxFraming: number): void {
    this.#maxFraming = maxFraming;
    this.#phase = phase;
    this.#pace = new Pace();
    this.#heldMs = 0;
    this.#wireBefore = this.#tap.bytesRead();
  }

  /** Part of the stream interface. */
  write(chunk: Uint8Array): true {
    if (this.isClosed) return true;
    // A Buffer's slice() is no copy: what is kept of a chunk would go with the chunk's memory.
    this.#waitingChunks.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
    this.#waitingBytes += chunk.length;
    this.#run();
    const { bytes, chunks } = mostWaiting;
    const isTooMuch = this.#waitingBytes > bytes || this.#waitingChunks.length > chunks;
    if (isTooMuch && this.#isBusy && !this.isClosed) this.#tap.close();
    return true;
  }

  /** Part of the stream interface: the client has closed its side. */
  end(): void {
    this.#hasEnded = true;
    this.#run();
  }

  #run(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (!this.isClosed && !this.#isBusy && this.#nextChunk()) this.#step();
    } finally {
      this.#isRunning = false;
    }
    if (this.isClosed) {
      this.#waitingChunks = [];
      return;
    }
    if (this.#isBusy) return;
    this.#host.idle();
    if (this.#hasEnded && !this.isClosed && !this.#isBusy) return this.#host.ended();
    this.#tap.open();
  }

  #nextChunk(): boolean {
    while (this.#at >= this.#chunk.length) {
      const next = this.#waitingChunks.shift();
      if (this.#isMessageOnly) giveBack(this.#chunk);
      this.#isMessageOnly = false;
      this.#chunk = next ?? nothing;
      this.#at = 0;
      if (next === undefined) return false;
      this.#waitingBytes -= next.length;
    }
    return true;
  }

  #step(): void {
    if (this.#phase !== undefined) this.#takeData(this.#phase);
    else this.#takeLine();
  }

  #takeData(phase: DataPhase): void {
    const from = this.#at;
    const began = performance.now();
    const { next, wait } = phase.take(this.#chunk, from);
    this.#at = next < 0 ? this.#chunk.length : next;
    if (next < 0 && this.#isAllFraming(phase.wireBytes)) {
      phase.giveUp(
        new Refusal("records_too_small", "Message comes in TLS records of a few bytes: send larger ones"),
      );
    }
    if (next >= 0 || phase.isHopeless) {
      this.#phase = undefined;
      this.#work((done) => this.#host.dataEnded(done));
      return;
    }
    this.#isMessageOnly = from === 0;
    const now = performance.now();
    const leaveMs = this.#pace.after(this.#at - from, now - began, now);
    if (wait !== undefined) this.#hold(wait);
    else if (leaveMs > 0) this.#leave(leaveMs);
  }

  /** Each TLS record costs as much as a thousand bytes of it: nobody sends megabytes of them in good faith. */
  #isAllFraming(content: number): boolean {
    const framing = this.#tap.bytesRead() - this.#wireBefore - content;
    return framing > this.#maxFraming && framing > 4 * content;
  }

  /** Reads nothing more for now: what comes gathers in the kernel, and other connections have their turn. */
  #leave(ms: number): void {
    this.#tap.close();
    this.#work((done) => void setTimeout(done, ms));
  }

  #hold(wait: Promise<void>): void {
    const heldAt = performance.now();
    this.#isHolding = true;
    this.#work((done) => {
      void wait.then(() => {
        this.#isHolding = false;
        this.#heldMs += performance.now() - heldAt;
        done();
      });
    });
  }

  #takeLine(): void {
    const end = this.#chunk.indexOf(LF, this.#at);
    const part = this.#chunk.subarray(this.#at, end < 0 ? this.#chunk.length : end + 1);
    if (this.#line.length + part.length > longestLine) return this.#host.broken("line_too_long");
    this.#at += part.length;
    const line = this.#line.length === 0 ? part : joined(this.#line, part);
    if (end < 0) {
      // A copy, so that one byte does not hold on to the chunk it came in.
      this.#line = line === part ? part.slice() : line;
      return;
    }
    this.#line = nothing;
    const command = line.subarray(0, line.length - 2);
    if (line[line.length - 2] !== CR || command.some(isControl)) return this.#host.broken("line_invalid");
    this.#work((done) => this.#host.command(command, done));
    if (++this.#commands % commandsAtOnce === 0 && !this.#isBusy && !this.isClosed) {
      this.#host.idle();
      this.#work((done) => void setImmediate(done));
    }
  }

  /** Runs a step that may go on after it returns; until `done` nothing else is taken. */
  #work(step: (done: () => void) => void): void {
    this.#isBusy = true;
    let isDone = false;
    step(() => {
      if (isDone) return;
      isDone = true;
      this.#isBusy = false;
      this.#run();
    });
  }
}
const nothing = new Uint8Array(0);

/** Frees a chunk's memory now: a collector that waits for garbage lets megabytes of it wait for each sender. */
function giveBack({ buffer, length }: Uint8Array): void {
  if (length === buffer.byteLength) freeMemory(buffer);
}

function isControl(byte: number): boolean {
  return byte < 32 || byte === 127;
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
