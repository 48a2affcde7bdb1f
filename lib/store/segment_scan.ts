import { type FileHandle, open } from "node:fs/promises";
import { readFully } from "./file_body.ts";
import type { BodyLabel } from "./message_store.ts";
import {
  type BodyFacts,
  fixedSize,
  hasRecord,
  parseFixed,
  parseLabel,
  parsePrefix,
  prefixSize,
} from "./segment_format.ts";

/** One record of a segment. */
export interface ScannedBody extends BodyFacts {
  readonly label: BodyLabel;
  /** Where the body's bytes begin. */
  readonly offset: number;
}

/**
 * The records of a segment in the order they were appended, without reading bodies. It ends at the first damage,
 * which is a torn tail as a rule; `onHidden` is told when there seem to be records behind it.
 */
export async function* scanSegment(path: string, onHidden?: () => void): AsyncGenerator<ScannedBody> {
  const file = await open(path, "r");
  try {
    const window = new Window(file, (await file.stat()).size);
    let at = 0;
    for (let record = await recordAt(window, at); record; record = await recordAt(window, at)) {
      yield record;
      at = record.offset + record.size;
    }
    // Never believed, because a body may hold bytes that look like records.
    if (onHidden && await looksLikeRecords(window, at + 1)) onHidden();
  } finally {
    await file.close();
  }
}

async function recordAt(window: Window, at: number): Promise<ScannedBody | undefined> {
  const prefix = parsePrefix(await window.view(at, prefixSize));
  if (!prefix) return undefined;
  const rest = await window.view(at + prefixSize, prefix.size + fixedSize);
  const facts = parseFixed(rest.subarray(prefix.size));
  const label = facts && parseLabel(rest.subarray(0, prefix.size), prefix.crc);
  const offset = at + prefixSize + prefix.size + fixedSize;
  return label && offset + facts.size <= window.end ? { ...facts, label, offset } : undefined;
}

async function looksLikeRecords(window: Window, from: number): Promise<boolean> {
  for (let at = from; at + prefixSize <= window.end; at += Window.size - prefixSize) {
    if (hasRecord(await window.view(at, Math.min(Window.size, window.end - at)))) return true;
  }
  return false;
}

/** Reads a file in large steps for somebody who looks at it in small ones. */
class Window {
  static readonly size = 256 << 10;
  #bytes = new Uint8Array();
  #at = 0;

  constructor(readonly file: FileHandle, readonly end: number) {}

  /** The bytes at a position; fewer where the file ends. Valid until the next call. */
  async view(at: number, length: number): Promise<Uint8Array> {
    const from = at - this.#at;
    if (from >= 0 && from + length <= this.#bytes.length) return this.#bytes.subarray(from, from + length);
    const bytes = new Uint8Array(Math.max(0, Math.min(Math.max(length, Window.size), this.end - at)));
    const got = await readFully(this.file, bytes, at);
    this.#bytes = bytes.subarray(0, got);
    this.#at = at;
    return this.#bytes.subarray(0, length);
  }
}
