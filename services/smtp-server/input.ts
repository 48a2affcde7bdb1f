import { EventEmitter } from "node:events";
import type { DataPhase } from "./data_phase.ts";
import type { ProtocolReply } from "./replies.ts";

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
/** In DATA, chunks below this size are small; after some of them in a row we read less often, so that they gather. */
const smallChunk = 512;
const smallChunksTolerated = 16;
const gatherMs = 4;

/** The receiving side of a connection, a destination of `pipe()`: cuts commands, hands message bytes to a DataPhase. */
export class Input extends EventEmitter {
  readonly #host: InputHost;
  /** Set by the library when the connection ends or is upgraded: what was received is dropped unread. */
  isClosed = false;
  #chunk: Uint8Array = nothing;
  #at = 0;
  #waitingChunks: Uint8Array[] = [];
  #line: Uint8Array = nothing;
  #phase: DataPhase | undefined;
  #isBusy = false;
  #isRunning = false;
  #hasEnded = false;
  #isPaused = false;
  #smallChunks = 0;
  #heldMs = 0;
  #isHolding = false;
  #commands = 0;

  constructor(host: InputHost) {
    super();
    this.#host = host;
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

  /** From here on the bytes are a message's. */
  startData(phase: DataPhase): void {
    this.#phase = phase;
    this.#smallChunks = 0;
    this.#heldMs = 0;
  }

  /** Part of the stream interface: false asks for a pause, `drain` ends it. */
  write(chunk: Uint8Array): boolean {
    if (this.isClosed) return true;
    this.#waitingChunks.push(chunk);
    this.#run();
    if (!this.#isBusy && this.#waitingChunks.length === 0) return true;
    this.#isPaused = true;
    return false;
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
    if (this.isClosed) this.#waitingChunks = [];
    if (this.#isBusy && !this.isClosed) return;
    if (!this.isClosed) this.#host.idle();
    if (this.#hasEnded && !this.isClosed && !this.#isBusy) return this.#host.ended();
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.emit("drain");
  }

  #nextChunk(): boolean {
    while (this.#at >= this.#chunk.length) {
      const next = this.#waitingChunks.shift();
      this.#chunk = next ?? nothing;
      this.#at = 0;
      if (next === undefined) return false;
    }
    return true;
  }

  #step(): void {
    if (this.#phase !== undefined) this.#takeData(this.#phase);
    else this.#takeLine();
  }

  #takeData(phase: DataPhase): void {
    const isSmall = this.#chunk.length - this.#at < smallChunk;
    const { next, wait } = phase.take(this.#chunk, this.#at);
    this.#at = next < 0 ? this.#chunk.length : next;
    if (next >= 0 || phase.isHopeless) {
      this.#phase = undefined;
      this.#work((done) => this.#host.dataEnded(done));
      return;
    }
    this.#smallChunks = isSmall ? this.#smallChunks + 1 : 0;
    if (wait !== undefined) this.#hold(wait);
    else if (this.#smallChunks > smallChunksTolerated) this.#work((done) => void setTimeout(done, gatherMs));
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

function isControl(byte: number): boolean {
  return byte < 32 || byte === 127;
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
