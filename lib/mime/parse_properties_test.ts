import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { parseMessage } from "./parse.ts";
import type { ParsedMessage } from "./parse.ts";
import { TooManyParts } from "./parts.ts";

/** A message as somebody might build it. */
type Tree =
  | { readonly kind: "text" | "html"; readonly text: string; readonly encoding: Encoding }
  | { readonly kind: "file"; readonly name: string; readonly bytes: Uint8Array; readonly encoding: Encoding }
  | { readonly kind: "mixed"; readonly parts: readonly Tree[] };

type Encoding = "base64" | "quoted-printable";

const encoding = fc.constantFrom<Encoding>("base64", "quoted-printable");
const { tree } = fc.letrec<{ tree: Tree; leaf: Tree; mixed: Tree }>((tie) => ({
  leaf: fc.oneof(
    fc.record({
      kind: fc.constantFrom("text" as const, "html" as const),
      text: fc.string({ unit: "grapheme", minLength: 1 }).map((text) =>
        text.replace(/\p{Cc}|\ufeff/gu, " ").toWellFormed()
      ),
      encoding,
    }),
    fc.record({
      kind: fc.constant("file" as const),
      name: fc.string({ unit: fc.constantFrom(..."abc é€✓\"\\';%*="), minLength: 1, maxLength: 100 }).filter((
        name,
      ) => name.trim() === name && !/[\s]{2}/.test(name)),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 500 }),
      encoding,
    }),
  ),
  mixed: fc.record({
    kind: fc.constant("mixed" as const),
    parts: fc.array(tie("tree"), { minLength: 1, maxLength: 4 }),
  }),
  tree: fc.oneof({ maxDepth: 6 }, tie("leaf"), tie("mixed")),
}));

let boundaries = 0;

function written(part: Tree): string {
  if (part.kind === "mixed") {
    const boundary = `=_${++boundaries}`;
    const parts = part.parts.map((inner) => `--${boundary}\r\n${written(inner)}\r\n`).join("");
    return `Content-Type: multipart/mixed; boundary="${boundary}"\r\n\r\npreamble\r\n${parts}--${boundary}--\r\n`;
  }
  const bytes = part.kind === "file" ? part.bytes : Buffer.from(part.text);
  const type = part.kind === "file"
    ? "application/x-a"
    : `text/${part.kind === "html" ? "html" : "plain"}; charset=utf-8`;
  const name = part.kind === "file"
    ? `Content-Disposition: attachment;\r\n${nameParameters(part.name)}\r\n`
    : "";
  return `Content-Type: ${type}\r\n${name}Content-Transfer-Encoding: ${part.encoding}\r\n\r\n${
    encoded(bytes, part.encoding)
  }`;
}

/** RFC 2231, in pieces of ten bytes. */
function nameParameters(name: string): string {
  const pieces = [...Buffer.from(name)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`);
  const lines: string[] = [];
  for (let at = 0; at < pieces.length; at += 10) {
    lines.push(
      ` filename*${lines.length}*=${at === 0 ? "utf-8''" : ""}${pieces.slice(at, at + 10).join("")}`,
    );
  }
  return lines.join(";\r\n");
}

function encoded(bytes: Uint8Array, how: Encoding): string {
  if (how === "base64") return Buffer.from(bytes).toString("base64").replace(/.{60}(?=.)/g, "$&\r\n");
  const all = [...bytes].map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, "0")}`);
  return all.join("").replace(/.{60}(?=.)/g, "$&=\r\n");
}

function leaves(part: Tree): readonly Exclude<Tree, { readonly kind: "mixed" }>[] {
  return part.kind === "mixed" ? part.parts.flatMap(leaves) : [part];
}

function read(message: ParsedMessage): readonly string[] {
  return [
    ...message.bodies.map((body) => `${body.type} ${Buffer.from([...body.text()].join("")).toString("hex")}`),
    ...message.attachments.map((file) =>
      `${file.type === "application/x-a" ? file.fileName : file.type} ${
        Buffer.concat([...file.bytes()]).toString("hex")
      }`
    ),
  ];
}

Deno.test("parseMessage() loses nothing and changes nothing of a message it takes apart", async () => {
  await fc.assert(
    fc.asyncProperty(tree, async (message) => {
      const parsed = await parseMessage(Buffer.from(`Subject: x\r\n${written(message)}`));
      const expected = leaves(message).map((leaf) =>
        leaf.kind === "file"
          ? `${leaf.name} ${Buffer.from(leaf.bytes).toString("hex")}`
          : `text/${leaf.kind === "html" ? "html" : "plain"} ${Buffer.from(leaf.text).toString("hex")}`
      );
      assert.deepEqual(read(parsed).toSorted(), expected.toSorted());
    }),
    { numRuns: 200 },
  );
});

Deno.test("parseMessage() makes something of every message, however it is damaged", async () => {
  const damage = fc.array(
    fc.record({
      at: fc.nat({ max: 3000 }),
      length: fc.nat({ max: 40 }),
      by: fc.uint8Array({ maxLength: 10 }),
    }),
    { maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(tree, damage, async (message, wounds) => {
      let bytes: Uint8Array = Buffer.from(`Subject: x\r\n${written(message)}`);
      for (const { at, length, by } of wounds) {
        bytes = Buffer.concat([bytes.subarray(0, at), by, bytes.subarray(at + length)]);
      }
      read(await parseMessage(bytes));
    }),
    { numRuns: 200 },
  );
});

Deno.test("parseMessage() makes something of any bytes, or says that they are too many parts", async () => {
  const line = fc.constantFrom(
    "--b",
    "--b--",
    "",
    "Content-Type: multipart/mixed; boundary=b",
    "x",
    "Content-Type: text/html",
  );
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 200 }), async (lines) => {
      read(await parseMessage(Buffer.from(lines.join("\r\n"))));
    }),
    { numRuns: 200 },
  );
  await assert.rejects(
    parseMessage(
      Buffer.from(`Content-Type: multipart/mixed; boundary=b\r\n\r\n${"--b\r\n\r\n".repeat(10_001)}`),
    ),
    TooManyParts,
  );
});
