import type { Body } from "./body.ts";

/** All bytes of a body for a while; disposing frees those of a large one at once, so nobody may look at them later. */
export interface WholeBody extends Disposable {
  readonly all: Uint8Array;
}

/** Bodies up to this size are small: whoever stores them may hold the same bytes. */
const smallBody = 256 * 1024;

/** Reads a body; reserve the memory first. Throws as its `stream` does, and when it has other than `size` bytes. */
export async function readWhole(body: Body): Promise<WholeBody> {
  if (body.size <= smallBody) return { all: await body.bytes(), [Symbol.dispose]: () => {} };
  const all = new Uint8Array(body.size);
  let length = 0;
  for await (const chunk of body.stream()) {
    if (length + chunk.length > all.length) throw wrongSize(body, length + chunk.length);
    all.set(chunk, length);
    length += chunk.length;
  }
  if (length !== all.length) throw wrongSize(body, length);
  // The garbage collector would come much later: it does not see how much memory is waiting for it.
  return { all, [Symbol.dispose]: () => void all.buffer.transfer(0) };
}

function wrongSize({ size }: Body, found: number): Error {
  return new Error(`Cannot read body: it has ${size} bytes, ${found} were read`);
}
