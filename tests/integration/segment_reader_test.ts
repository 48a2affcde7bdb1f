import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { type GroupId, type MessageId, newId, type UserId } from "../../lib/ids.ts";
import { sha256Of } from "../../lib/store/memory_body.ts";
import { encodeHeader } from "../../lib/store/segment_format.ts";
import { SegmentReader, type SegmentReaderOptions } from "../../lib/store/segment_reader.ts";
import type { SegmentPlace } from "../../lib/store/segment_ref.ts";
import { someBytes } from "../contracts/message_store_contract.ts";

interface Segments {
  /** Whether the body of a segment, by its name, can be read. */
  readonly reads: (name: string) => Promise<boolean>;
  /** Deletes a segment: from now on only who has it open can read it. */
  readonly unlink: (name: string) => Promise<void>;
}

/** A reader of segments with one body each. */
async function withReader(
  names: readonly string[],
  options: Omit<SegmentReaderOptions, "root">,
  test: (segments: Segments) => Promise<void>,
): Promise<void> {
  const root = await Deno.makeTempDir({ prefix: "smtp-proxy-segments-" });
  const reader = new SegmentReader({ root, ...options });
  const places = new Map<string, SegmentPlace>();
  for (const path of names) {
    const bytes = someBytes(100);
    const label = {
      id: newId<MessageId>(),
      group: newId<GroupId>(),
      user: newId<UserId>(),
      mailFrom: "",
      recipients: [],
    };
    const header = encodeHeader(label, { size: bytes.length, sha256: sha256Of(bytes), storedAtMs: 0 });
    await Deno.writeFile(join(root, path), Buffer.concat([header, bytes]));
    places.set(path, { path, offset: header.length, size: bytes.length });
  }
  const placeOf = (name: string) => {
    const place = places.get(name);
    assert.ok(place);
    return place;
  };
  try {
    await test({
      reads: async (name) => await reader.read(placeOf(name)) !== undefined,
      unlink: (name) => Deno.remove(join(root, name)),
    });
  } finally {
    await reader[Symbol.asyncDispose]();
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("SegmentReader closes the file that was not read for longest when it opens one too many", () =>
  withReader(["a", "b", "c", "d"], { maxOpen: 3 }, async ({ reads, unlink }) => {
    for (const name of ["a", "a", "b", "b", "a", "a", "c", "d"]) assert.ok(await reads(name), name);
    for (const name of ["a", "b", "c", "d"]) await unlink(name);
    assert.deepEqual([await reads("a"), await reads("c"), await reads("d")], [true, true, true]);
    assert.equal(await reads("b"), false);
  }));

Deno.test("SegmentReader keeps a file for which there is room, however often others are read", () =>
  withReader(["a", "b"], { maxOpen: 2 }, async ({ reads, unlink }) => {
    assert.ok(await reads("a"));
    await unlink("a");
    for (let time = 0; time < 3; time++) assert.ok(await reads("b"));
    assert.ok(await reads("a"));
  }));

Deno.test("SegmentReader keeps no file open for longer than a minute", async () => {
  let now = 0;
  await withReader(["a", "b"], { now: () => now }, async ({ reads, unlink }) => {
    assert.ok(await reads("a"));
    await unlink("a");
    now = 60_000;
    assert.ok(await reads("b") && await reads("a"));
    now = 60_001;
    assert.ok(await reads("b"));
    assert.equal(await reads("a"), false);
  });
});
