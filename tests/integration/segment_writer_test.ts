import assert from "node:assert/strict";
import type { GroupId } from "../../lib/ids.ts";
import type { StorageRef } from "../../lib/messages/message.ts";
import { placeOf } from "../../lib/store/segment_ref.ts";
import { segmentLifeMs, SegmentWriter, type SegmentWriterOptions } from "../../lib/store/segment_writer.ts";
import { diskFiles, StoreFolders } from "../../lib/store/store_files.ts";
import { someBytes } from "../contracts/message_store_contract.ts";

async function withWriter(
  options: Partial<SegmentWriterOptions>,
  test: (put: (group?: string) => Promise<string>) => Promise<void>,
): Promise<void> {
  const root = await Deno.makeTempDir({ prefix: "smtp-proxy-segments-" });
  const files = options.files ?? diskFiles;
  const writer = new SegmentWriter({
    root,
    instance: "test",
    folders: new StoreFolders(root, files),
    ...options,
    files,
  });
  const pathOf = (ref: StorageRef) => placeOf(ref)?.path ?? "";
  try {
    await test(async (group = "a") => {
      const body = { group: group as GroupId, header: someBytes(200), bytes: someBytes(1000) };
      return pathOf(await writer.append(body));
    });
  } finally {
    await writer[Symbol.asyncDispose]();
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("SegmentWriter begins a new segment when the old one is large enough", () =>
  withWriter({ rollBytes: 2400 }, async (put) => {
    const paths = [await put(), await put(), await put(), await put()];
    assert.deepEqual([paths[0] === paths[1], paths[1] === paths[2], paths[2] === paths[3]], [
      true,
      false,
      true,
    ]);
  }));

Deno.test("SegmentWriter begins a new segment when the old one is a minute old", async () => {
  let now = 0;
  await withWriter({ now: () => now }, async (put) => {
    const first = await put();
    now = 59_999;
    assert.equal(await put(), first);
    now = 60_000;
    assert.notEqual(await put(), first);
  });
});

Deno.test("SegmentWriter acknowledges nothing in a segment that others may take for settled", async () => {
  let now = 0;
  let syncMs = 0;
  const files = {
    ...diskFiles,
    async create(path: string) {
      const file = await diskFiles.create(path);
      return { ...file, sync: () => file.sync().finally(() => now += syncMs) };
    },
  };
  await withWriter({ files, now: () => now }, async (put) => {
    const first = await put();
    syncMs = segmentLifeMs + 1;
    await assert.rejects(put(), /Cannot store bodies in time/);
    syncMs = 0;
    assert.notEqual(await put(), first);
  });
});

Deno.test("SegmentWriter lets groups take turns in its batches", async () => {
  const batches: number[] = [];
  await withWriter({ onBatch: (bodies) => batches.push(bodies) }, async (put) => {
    const order: string[] = [];
    const many = Array.from({ length: 600 }, () => put("many").then(() => order.push("many")));
    const few = Array.from({ length: 3 }, () => put("few").then(() => order.push("few")));
    await Promise.all([...many, ...few]);
    assert.ok(order.lastIndexOf("few") < 10, `${order.lastIndexOf("few")}`);
    assert.deepEqual(batches, [500, 103]);
  });
});
