interface Word {
  readonly charset: string;
  readonly bytes: Uint8Array;
}

const encodedWord = /=\?([A-Za-z0-9_.:+-]{1,40})(?:\*[A-Za-z0-9-]*)?\?([BbQq])\?([!->@-~ ]*?)\?=/;

/** Decodes the encoded words of a header value (RFC 2047); what cannot be decoded stays as it is written. */
export function decodeWords(text: string): string {
  if (!text.includes("=?")) return text;
  let decoded = "";
  let run: Word[] = [];
  let rest = text;
  for (let match = encodedWord.exec(rest); match !== null; match = encodedWord.exec(rest)) {
    const between = rest.slice(0, match.index);
    const word = decodeWord(match[1] ?? "", match[2] ?? "", match[3] ?? "");
    rest = rest.slice(match.index + match[0].length);
    // White space between two encoded words is not part of the text (section 6.2).
    if (run.length === 0 || between.trim() !== "" || word === undefined) {
      decoded += joined(run) + between;
      run = [];
    }
    if (word === undefined) decoded += match[0];
    else run.push(word);
  }
  return decoded + joined(run) + rest;
}

function decodeWord(charset: string, encoding: string, text: string): Word | undefined {
  const bytes = encoding.toUpperCase() === "B" ? fromBase64(text) : fromQ(text);
  return bytes === undefined ? undefined : { charset: charset.toLowerCase(), bytes };
}

/** Some clients cut a character in two words, so the bytes of neighbours of one charset are decoded together. */
function joined(words: readonly Word[]): string {
  let text = "";
  for (let index = 0; index < words.length;) {
    const charset = words[index]?.charset ?? "";
    const bytes: number[] = [];
    for (; words[index]?.charset === charset; index++) {
      for (const byte of words[index]?.bytes ?? []) bytes.push(byte);
    }
    text += decodeBytes(charset, Uint8Array.from(bytes));
  }
  return text;
}

function decodeBytes(charset: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder(charset).decode(bytes);
  } catch (error) {
    // A charset nobody knows.
    if (!(error instanceof RangeError)) throw error;
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

function fromBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "loose" });
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function fromQ(text: string): Uint8Array {
  const plain = text.replaceAll("_", " ");
  const bytes: number[] = [];
  for (let at = 0; at < plain.length; at++) {
    const hex = plain.charAt(at) === "=" ? plain.slice(at + 1, at + 3) : "";
    if (/^[0-9A-Fa-f]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      at += 2;
    } else {
      bytes.push(plain.charCodeAt(at) & 0xff);
    }
  }
  return Uint8Array.from(bytes);
}
