import { isUtf8 } from "node:buffer";

const pieceLength = 256 * 1024;

/**
 * Bytes as text, in pieces. A charset nobody knows, none, and US-ASCII with bytes that it lacks are taken for UTF-8
 * where the bytes are that, else for Windows-1252, which old clients mean; what cannot be decoded becomes U+FFFD.
 */
export function* decodedText(pieces: Iterable<Uint8Array>, charset: string | undefined): Generator<string> {
  const label = charset?.trim().toLowerCase() ?? "";
  if (/^(unicode-1-1-)?utf-?7$/.test(label)) {
    yield decodeUtf7(latin1(joined(pieces)));
    return;
  }
  const known = isVague(label) ? undefined : decoderFor(label);
  if (known !== undefined) return yield* streamed(pieces, known);
  const bytes = joined(pieces);
  yield* streamed(slices(bytes), new TextDecoder(isUtf8(bytes) ? "utf-8" : "windows-1252"));
}

function* streamed(pieces: Iterable<Uint8Array>, decoder: TextDecoder): Generator<string> {
  for (const piece of pieces) {
    const text = decoder.decode(piece, { stream: true });
    if (text !== "") yield text;
  }
  const rest = decoder.decode();
  if (rest !== "") yield rest;
}

function isVague(label: string): boolean {
  return label === "" || label === "us-ascii" || label === "ascii" || label === "unknown-8bit" ||
    label === "8bit";
}

function decoderFor(label: string): TextDecoder | undefined {
  try {
    return new TextDecoder(label);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceLength) yield bytes.subarray(at, at + pieceLength);
}

function joined(pieces: Iterable<Uint8Array>): Uint8Array {
  const all = [...pieces];
  const [first] = all;
  if (all.length === 1 && first !== undefined) return first;
  const whole = new Uint8Array(all.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of all) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const piece of slices(bytes)) text += new TextDecoder("windows-1252").decode(piece);
  return text;
}

/** RFC 2152: runs of base64 between + and - are UTF-16. */
function decodeUtf7(text: string): string {
  return text.replace(/\+([A-Za-z0-9+/]*)-?/g, (whole, run: string) => {
    if (run === "") return whole.endsWith("-") ? "+" : whole;
    const bytes = Uint8Array.fromBase64(run.slice(0, run.length - (run.length % 4 === 1 ? 1 : 0)), {
      lastChunkHandling: "loose",
    });
    return new TextDecoder("utf-16be").decode(bytes.subarray(0, bytes.length & ~1));
  });
}
