import { Buffer } from "node:buffer";

const endOfData = Buffer.from("\r\n.\r\n", "latin1");
const idField = Buffer.from("\r\nX-Test-Id: ", "latin1");
/** The field is looked for in this much of a message, which holds any header that the bench writes. */
const headerLimit = 16_384;

/** What a conversation tells whoever counts: a message that is about to be answered with 250. */
export type OnMessage = (id: string | undefined, recipients: number) => void;

/**
 * The receiving half of one SMTP conversation, as bytes in and replies out. It takes everything, understands
 * PIPELINING and reads of a message only its X-Test-Id.
 */
export class SinkReceiver {
  readonly #onMessage: OnMessage;
  #commands = "";
  #recipients = 0;
  #inData = false;
  /** The last bytes of the message so far, for an end mark that two chunks share. */
  #tail = Buffer.alloc(0);
  #header: Buffer[] = [];
  #headerSize = 0;

  constructor(onMessage: OnMessage) {
    this.#onMessage = onMessage;
  }

  /** Takes what the client sent and answers what to send back; `quit` asks to close after that. */
  receive(chunk: Buffer): { readonly replies: string; readonly quit: boolean } {
    let replies = "";
    let rest = chunk;
    for (;;) {
      if (this.#inData) {
        const after = this.#takeData(rest);
        if (after === undefined) return { replies, quit: false };
        rest = after;
        replies += "250 2.0.0 Taken\r\n";
      }
      const end = rest.indexOf(10);
      if (end < 0) {
        this.#commands += rest.toString("latin1");
        return { replies, quit: false };
      }
      const line = this.#commands + rest.toString("latin1", 0, end);
      this.#commands = "";
      rest = rest.subarray(end + 1);
      replies += this.#command(line);
      if (/^quit/i.test(line)) return { replies, quit: true };
    }
  }

  #command(line: string): string {
    switch (line.slice(0, 4).toUpperCase()) {
      case "EHLO":
        return "250-sink.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n" +
          "250 SIZE 104857600\r\n";
      case "RCPT":
        this.#recipients++;
        return "250 2.1.5 Ok\r\n";
      case "DATA":
        this.#inData = true;
        // The line end before the first line of a message is that of DATA itself.
        this.#tail = Buffer.from("\r\n", "latin1");
        this.#header = [this.#tail];
        this.#headerSize = 0;
        return "354 Go on\r\n";
      case "QUIT":
        return "221 2.0.0 Bye\r\n";
      case "RSET":
        this.#recipients = 0;
        return "250 2.0.0 Ok\r\n";
      default:
        return "250 2.0.0 Ok\r\n";
    }
  }

  /** Answers what follows the message's end, or undefined when it has not ended. */
  #takeData(chunk: Buffer): Buffer | undefined {
    if (this.#headerSize < headerLimit) {
      this.#header.push(chunk);
      this.#headerSize += chunk.length;
    }
    const seam = Buffer.concat([this.#tail, chunk.subarray(0, 4)]).indexOf(endOfData);
    const inside = seam >= 0 ? seam - this.#tail.length : chunk.indexOf(endOfData);
    if (seam < 0 && inside < 0) {
      this.#tail = Buffer.concat([this.#tail, chunk.subarray(-4)]).subarray(-4);
      return undefined;
    }
    this.#inData = false;
    this.#onMessage(findId(Buffer.concat(this.#header)), this.#recipients);
    this.#recipients = 0;
    this.#header = [];
    return chunk.subarray(inside + endOfData.length);
  }
}

function findId(start: Buffer): string | undefined {
  const at = start.indexOf(idField);
  if (at < 0) return undefined;
  const from = at + idField.length;
  return start.toString("latin1", from, start.indexOf(13, from));
}
