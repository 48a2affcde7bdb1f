import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { utimes } from "node:fs/promises";
import { join } from "node:path";
import { arrivalsInThread } from "../../lib/store/arrival_thread.ts";
import { codeOf } from "../../lib/store/disk_errors.ts";
import { openSpool } from "../../lib/store/spool.ts";
import { diskFiles, type StoreFiles } from "../../lib/store/store_files.ts";
import { assertHolds, newLabel, someBytes } from "../contracts/message_store_contract.ts";

async function inFolder(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "smtp-proxy-spool-" });
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function namesIn(directory: string): string[] {
  return [...Deno.readDirSync(directory)].map((entry) => entry.name);
}

for (const size of [0, 1, 4096, 4097, 10_000, 10_001, 20_000, 20_001, 1_000_000]) {
  for (const step of [1, 999, 10_000, 64 << 10]) {
    if (size / step > 5000) continue;
    Deno.test(`BodyWriter.finish() gives the ${size} bytes that were written in steps of ${step}`, () =>
      inFolder(async (directory) => {
        await using spool = await openSpool({ directory, memoryLimit: 10_000 });
        const bytes = someBytes(size);
        const added = someBytes(Math.min(size, 700));
        const writer = spool.begin(newLabel(), added);
        const chunk = new Uint8Array(step);
        for (let at = added.length; at < size; at += step) {
          const part = chunk.subarray(0, Math.min(step, size - at));
          part.set(bytes.subarray(at, at + step));
          await writer.write(part);
          chunk.fill(0xee); // the caller's buffer is the caller's again
        }
        const { body, contentHash } = await writer.finish();
        assert.equal(namesIn(directory).length, size > 10_000 ? 1 : 0);
        await assertHolds(body, bytes);
        const content = createHash("sha256").update(bytes.subarray(added.length)).digest("hex");
        assert.equal(contentHash.toHex(), content);
        await body[Symbol.asyncDispose]();
        assert.deepEqual(namesIn(directory), []);
      }));
  }
}

Deno.test("BodyWriter.write() takes a small chunk at once and makes the writer wait for the disk otherwise", () =>
  inFolder(async (directory) => {
    await using spool = await openSpool({ directory, memoryLimit: 10_000 });
    const writer = spool.begin(newLabel());
    assert.equal(writer.write(someBytes(10_000)), undefined);
    const pending = writer.write(someBytes(100_000));
    assert.ok(pending);
    assert.throws(() => writer.write(someBytes(1)), /the last write has not ended/);
    await pending;
    await writer.abort();
    assert.throws(() => writer.write(someBytes(1)), /it has ended/);
  }));

Deno.test("BodyWriter.abort() leaves no file, at whatever moment it comes", () =>
  inFolder(async (directory) => {
    await using spool = await openSpool({ directory, memoryLimit: 10_000 });
    for (const size of [0, 5000, 15_000, 500_000]) {
      const idle = spool.begin(newLabel());
      await idle.write(someBytes(size));
      await idle.abort();
      await idle.abort();
      const busy = spool.begin(newLabel());
      const pending = busy.write(someBytes(size));
      await busy.abort();
      await pending;
    }
    assert.deepEqual(namesIn(directory), []);
  }));

Deno.test("Spool drops what is still arriving when it is closed", () =>
  inFolder(async (directory) => {
    const spool = await openSpool({ directory, memoryLimit: 10_000 });
    await spool.begin(newLabel()).write(someBytes(100_000));
    assert.equal(namesIn(directory).length, 1);
    await spool[Symbol.asyncDispose]();
    assert.deepEqual(namesIn(directory), []);
  }));

Deno.test("Spool waits for what is being finished when it is closed, and its thread has ended for good", () =>
  inFolder(async (directory) => {
    const spool = await openSpool({ directory, memoryLimit: 10_000 });
    const writer = spool.begin(newLabel());
    await writer.write(someBytes(500_000));
    const finishing = writer.finish();
    await spool[Symbol.asyncDispose]();
    const { body } = await finishing;
    await assertHolds(body, someBytes(500_000));
    await body[Symbol.asyncDispose]();
    assert.deepEqual(namesIn(directory), []);
    const late = spool.begin(newLabel());
    await late.write(someBytes(15_000));
    await assert.rejects(late.finish(), /Cannot use the thread arriving bodies: it was ended/);
  }));

Deno.test("BodyWriter tells a disk that fails to whoever writes or finishes, and leaves nothing", () =>
  inFolder(async (directory) => {
    const files: StoreFiles = {
      ...diskFiles,
      async create(path) {
        const file = await diskFiles.create(path);
        return { ...file, write: () => Promise.reject(new Error("the disk does not work")) };
      },
    };
    await using spool = await openSpool({ directory, memoryLimit: 10_000, files });
    const writer = spool.begin(newLabel());
    await writer.write(someBytes(15_000));
    await assert.rejects(writer.finish(), /does not work/);
    const other = spool.begin(newLabel());
    await assert.rejects(async () => await other.write(someBytes(100_000)), /does not work/);
    await other.abort();
    assert.deepEqual(namesIn(directory), []);
  }));

Deno.test("Arrivals in a thread tell failures by the system's codes, and a body ends with its thread", () =>
  inFolder(async (directory) => {
    using arrivals = arrivalsInThread();
    const layout = { headerSize: 10, prefixSize: 3 };
    const codeIs = (code: string) => (error: unknown) => codeOf(error) === code;
    await assert.rejects(arrivals.create(join(directory, "none", "a.part"), layout), codeIs("ENOENT"));
    const path = join(directory, "a.part");
    const first = await arrivals.create(path, layout);
    await assert.rejects(arrivals.create(path, layout), codeIs("EEXIST"));
    await first.append(someBytes(4000));
    const hashing = first.hashes();
    const next = await arrivals.create(join(directory, "b.part"), layout);
    await next.append(someBytes(10));
    const content = createHash("sha256").update(someBytes(10).subarray(3)).digest("hex");
    assert.equal((await next.hashes()).contentHash.toHex(), content);
    await hashing;
    const closing = next.close();
    arrivals[Symbol.dispose]();
    await assert.rejects(closing, /Cannot use the thread arriving bodies: it was ended/);
    await assert.rejects(first.append(someBytes(1000)), /it was ended/);
  }));

Deno.test("Body.stream() of a file closes it when it is cancelled, at whatever moment", () =>
  inFolder(async (directory) => {
    await using spool = await openSpool({ directory, memoryLimit: 10_000 });
    const writer = spool.begin(newLabel());
    await writer.write(someBytes(500_000));
    await using body = (await writer.finish()).body;
    await body.stream().cancel();
    const busy = body.stream().getReader();
    const first = busy.read();
    await busy.cancel();
    await first;
    const begun = body.stream().getReader();
    await begun.read();
    await begun.cancel();
    await assertHolds(body, someBytes(500_000));
  }));

Deno.test("openSpool() removes files that nobody has written to for an hour, and no others", () =>
  inFolder(async (directory) => {
    const names = ["old.part", "young.part", "old.txt"];
    for (const name of names) await Deno.writeTextFile(join(directory, name), "x");
    const before = new Date(Date.now() - 3_700_000);
    for (const name of ["old.part", "old.txt"]) await utimes(join(directory, name), before, before);
    await using _spool = await openSpool({ directory });
    assert.deepEqual(namesIn(directory).sort(), ["old.txt", "young.part"]);
  }));

Deno.test("Spool.memoryFor() is twice the size of a small body and two buffers for a large one", () =>
  inFolder(async (directory) => {
    await using spool = await openSpool({ directory });
    assert.deepEqual([1000, 25 << 20].map((size) => spool.memoryFor(size)), [2000, 512 << 10]);
  }));
