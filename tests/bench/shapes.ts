import { Buffer } from "node:buffer";

/** Bodies that cost a careless parser much: what they are made of. */
const shapes = {
  "stuffed-dots": "..\r\n",
  "empty-lines": "\r\n",
  "short-lines": "a\r\n",
  "dots-without-end": "..",
  "no-line-end": "x",
  "lone-cr": "\r",
  "lone-lf": "\n",
  "almost-the-end": "\r\n.\r",
} as const;

/** A body made of one pattern again and again, or one that comes a byte a packet. */
export type ShapeName = keyof typeof shapes | "byte-a-packet";

/** All shapes, the slow one last. */
export const shapeNames: readonly ShapeName[] = [
  ...Object.keys(shapes) as (keyof typeof shapes)[],
  "byte-a-packet",
];

export function isShapeName(text: string): text is ShapeName {
  return shapeNames.some((name) => name === text);
}

/** The body in the pieces it is to be written in; pieces that share memory must not be changed. */
export function* piecesOf(name: ShapeName, bytes: number): Generator<Buffer> {
  if (name === "byte-a-packet") {
    const text = Buffer.from("An ordinary line of text\r\n", "latin1");
    for (let at = 0; at < bytes; at++) yield text.subarray(at % text.length, at % text.length + 1);
    return;
  }
  const pattern = shapes[name];
  const piece = Buffer.from(pattern.repeat(Math.ceil(65_536 / pattern.length)), "latin1");
  for (let left = bytes; left > 0; left -= piece.length) {
    yield piece.subarray(0, Math.min(left, piece.length));
  }
}
