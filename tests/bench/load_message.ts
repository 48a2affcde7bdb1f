import { Buffer } from "node:buffer";

const line = 78;
/** Bodies beyond this are written piece by piece, all pieces but the first shared among sessions. */
const pieceSize = 840 * line;
const sequenceDigits = 9;

/** What makes the messages of a run alike. */
export interface MessageShape {
  readonly run: string;
  readonly from: string;
  readonly to: string;
  readonly size: number;
  /** The Date field of every message of the run, so that a message sent again is the same byte for byte. */
  readonly date: Date;
}

/** The id of a run's message: the run's name, a dash and nine digits. */
export function messageId(run: string, sequence: number): string {
  return `${run}-${String(sequence).padStart(sequenceDigits, "0")}`;
}

/**
 * The bytes of one message at a time, closing dot included. `stamp` overwrites the id in place, so the pieces may
 * be used again only when the message before has been answered.
 */
export class MessageTemplate {
  readonly pieces: readonly Buffer[];
  readonly #run: string;
  readonly #idOffsets: readonly number[];

  constructor(shape: MessageShape, filler: Buffer) {
    const placeholder = messageId(shape.run, 0);
    const head = headerOf(shape, placeholder);
    const body = bodyPieces(filler, shape.size - head.length, pieceSize - head.length);
    this.pieces = [Buffer.concat([head, ...body.slice(0, 1)]), ...body.slice(1)];
    this.#run = shape.run;
    this.#idOffsets = offsetsOf(head, placeholder);
  }

  stamp(sequence: number): string {
    const id = messageId(this.#run, sequence);
    for (const offset of this.#idOffsets) this.pieces[0]?.write(id, offset, "latin1");
    return id;
  }
}

/** Lines of text that do not compress well, none of which begins with a dot; the same in every run. */
export function makeFiller(): Buffer {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const bytes = Buffer.alloc(pieceSize + line);
  let state = 0x2545f491;
  for (let at = 0; at < bytes.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const column = at % line;
    bytes[at] = column === line - 2 ? 13 : column === line - 1 ? 10 : alphabet.charCodeAt(state >>> 26);
  }
  return bytes;
}

function headerOf(shape: MessageShape, id: string): Buffer {
  return Buffer.from(
    `From: Bench <${shape.from}>\r\nTo: <${shape.to}>\r\nSubject: Message ${id}\r\n` +
      `Date: ${
        shape.date.toUTCString().replace("GMT", "+0000")
      }\r\nMessage-ID: <${id}@bench.example.com>\r\n` +
      `X-Test-Id: ${id}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n`,
    "latin1",
  );
}

/** Cuts `size` bytes of body and the closing dot into a first piece of at most `first` bytes and whole pieces. */
function bodyPieces(filler: Buffer, size: number, first: number): Buffer[] {
  const pieces: Buffer[] = [];
  let done = 0;
  for (let room = first; done < size - 2; room = pieceSize) {
    const take = Math.min(size - 2 - done, room);
    // A piece begins in the column where the one before it ended, so that no line grows too long.
    const start = done % line;
    pieces.push(filler.subarray(start, start + take));
    done += take;
  }
  const last = Buffer.concat([...pieces.slice(-1), Buffer.from("\r\n.\r\n", "latin1")]);
  const cut = last.length - 6;
  if (last[cut] === 13) last[cut] = 65; // a lone CR before the end would be a line ending of its own
  return [...pieces.slice(0, -1), last];
}

function offsetsOf(head: Buffer, text: string): number[] {
  const offsets: number[] = [];
  for (let at = head.indexOf(text); at >= 0; at = head.indexOf(text, at + 1)) offsets.push(at);
  return offsets;
}
