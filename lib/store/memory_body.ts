import { createHash } from "node:crypto";
import type { Body } from "./body.ts";

/** A body that lies in memory: the bytes given, not a copy, so nobody may change them. */
export function memoryBody(bytes: Uint8Array, sha256: Uint8Array = sha256Of(bytes)): Body {
  return {
    size: bytes.length,
    sha256,
    bytes: () => Promise.resolve(bytes),
    stream: () => streamOf(bytes),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** SHA-256 of bytes that are small enough to be hashed in one go. */
export function sha256Of(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes);
      controller.close();
    },
  });
}
