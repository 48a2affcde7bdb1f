import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import type { Body } from "../store/body.ts";
import { droppedFields, messageIdField } from "./header_edits.ts";
import { HeaderTooLong, openOutgoing, outgoingOf } from "./outgoing.ts";

const edits = { dropped: droppedFields({}), added: [{ name: messageIdField, value: "id" }] };

/** A body in pieces of this length, large by its own word. */
function streamedBody(bytes: Uint8Array, pieceLength: number, size = bytes.length): Body {
  return {
    size,
    sha256: new Uint8Array(32),
    bytes: () => Promise.resolve(bytes),
    stream: () => {
      let at = 0;
      return new ReadableStream({
        pull(controller) {
          if (at >= bytes.length) return controller.close();
          controller.enqueue(bytes.subarray(at, at += pieceLength));
        },
      });
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function gathered(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

Deno.test("openOutgoing() changes the header section and no byte behind it, however the body comes", async () => {
  const tail = Buffer.alloc(300_000, "Bcc: in the body\r\n\r\n.\n\r\0\xff", "latin1");
  const header = fc.array(fc.constantFrom("A: 1\r\n", "Bcc: x@y\r\n", "X-SES-A:\r\n\tb\r\n", "bcc:z\r\n"), {
    maxLength: 9,
  });
  await fc.assert(
    fc.asyncProperty(header, fc.integer({ min: 1, max: 70_000 }), async (fields, pieceLength) => {
      const bytes = Buffer.concat([Buffer.from(`${fields.join("")}\r\n`), tail]);
      const kept = fields.filter((field) => field.startsWith("A")).join("");
      const wanted = Buffer.concat([Buffer.from(`${messageIdField}: id\r\n${kept}\r\n`), tail]);
      const outgoing = await openOutgoing(streamedBody(bytes, pieceLength), edits);
      assert.equal(outgoing.size, wanted.length);
      assert.equal(outgoing.whole, undefined);
      assert.ok(wanted.equals(await gathered(outgoing.stream())));
      assert.ok(wanted.equals(await outgoing.bytes()));
      assert.ok(wanted.equals(outgoingOf(bytes, edits).whole));
    }),
    { numRuns: 30 },
  );
});

Deno.test("outgoingOf() answers the very bytes given when there is nothing to change", async () => {
  const bytes = Buffer.from("A: 1\r\n\r\nBcc: text");
  const outgoing = outgoingOf(bytes, { dropped: droppedFields({}) });
  assert.equal(outgoing.whole, bytes);
  assert.equal(await outgoing.bytes(), bytes);
  assert.ok(bytes.equals(await gathered(outgoing.stream())));
});

Deno.test("openOutgoing() refuses a header above a mebibyte that has no end", async () => {
  const endless = Buffer.alloc(1_200_000, "A: 1\r\n");
  await assert.rejects(openOutgoing(streamedBody(endless, 65_536), edits), HeaderTooLong);
});

Deno.test("openOutgoing() fails when the body is shorter or longer than it says", async () => {
  const bytes = Buffer.alloc(400_000, "A: 1\r\n\r\n");
  for (const size of [399_999, 400_001]) {
    const outgoing = await openOutgoing(streamedBody(bytes, 65_536, size), edits);
    await assert.rejects(gathered(outgoing.stream()), /Cannot send body/);
    await assert.rejects(outgoing.bytes(), /Cannot send body/);
  }
});
