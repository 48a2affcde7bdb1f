import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Outgoing } from "../mime/outgoing.ts";

/** Who gets a message by SES, and how SES is to handle it. */
export interface SesEnvelope {
  /** They alone get it, whatever the message's header says; nobody is told of the others. */
  readonly recipients: readonly string[];
  /** Replaces the From field, so it is given only where there is none. */
  readonly from?: string;
  readonly configurationSet?: string;
  /** Come back with every event; names and values of `[A-Za-z0-9_-]`. */
  readonly tags: Readonly<Record<string, string>>;
}

/** A body and its SHA-256 in hex. */
export interface HashedBody {
  readonly bytes: Uint8Array;
  readonly sha256: string;
}

/**
 * The body of SendEmail with a raw message: JSON with the message in base64, which is made piece by piece, so that
 * nothing of the message's size is held besides. Throws what reading the message throws.
 */
export async function sendEmailBody(message: Outgoing, envelope: SesEnvelope): Promise<HashedBody> {
  const [before = "", after = ""] = documentOf(envelope).split(placeholder);
  const length = before.length + base64Length(message.size) + after.length;
  const writer = new AsciiWriter(length);
  writer.text(before);
  // Base64 goes by three bytes: what is left over waits for the next piece.
  let rest = new Uint8Array(0);
  for await (const piece of message.stream()) {
    const joined = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const whole = joined.length - joined.length % 3;
    for (let at = 0; at < whole; at += chunkSize) {
      writer.text(base64(joined.subarray(at, Math.min(at + chunkSize, whole))));
    }
    rest = joined.slice(whole);
  }
  writer.text(base64(rest));
  writer.text(after);
  return writer.end();
}

const placeholder = "\u0000";
const chunkSize = 48 * 1024;

/** ASCII, with a NUL in the place of the message: JSON itself never holds one. */
function documentOf({ recipients, from, configurationSet, tags }: SesEnvelope): string {
  const document = JSON.stringify({
    ...(from === undefined ? {} : { FromEmailAddress: from }),
    Destination: { BccAddresses: recipients },
    ...(configurationSet === undefined ? {} : { ConfigurationSetName: configurationSet }),
    EmailTags: Object.entries(tags).map(([Name, Value]) => ({ Name, Value })),
  });
  const ascii = document.replace(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `${ascii.slice(0, -1)},"Content":{"Raw":{"Data":"${placeholder}"}}}`;
}

function base64(bytes: Uint8Array): string {
  return bytes.toBase64();
}

function base64Length(size: number): number {
  return 4 * Math.ceil(size / 3);
}

const encoder = new TextEncoder();

/** Fills an array of known length, and hashes it on the way so that the hash of much stops nobody for long. */
class AsciiWriter {
  readonly #bytes: Uint8Array;
  readonly #hash = createHash("sha256");
  #at = 0;

  constructor(length: number) {
    this.#bytes = new Uint8Array(length);
  }

  text(text: string): void {
    if (this.#at + text.length > this.#bytes.length) {
      throw new Error("Cannot send body: it has more bytes than it says");
    }
    // Of ASCII it is as many bytes; a Buffer's own `write` is hundreds of times slower.
    const end = this.#at + encoder.encodeInto(text, this.#bytes.subarray(this.#at)).written;
    this.#hash.update(this.#bytes.subarray(this.#at, end));
    this.#at = end;
  }

  end(): HashedBody {
    if (this.#at !== this.#bytes.length) throw new Error("Cannot send body: it has fewer bytes than it says");
    return { bytes: this.#bytes, sha256: this.#hash.digest("hex") };
  }
}
