import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import type { MessageId } from "../../lib/ids.ts";
import type { StorageRef } from "../../lib/messages/message.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { openStore } from "../../lib/store/open_store.ts";
import { newSegmentPath, placeOf } from "../../lib/store/segment_ref.ts";
import { diskFiles, type StoreFiles } from "../../lib/store/store_files.ts";
import {
  assertHolds,
  listed,
  messageStoreContract,
  newLabel,
  someBytes,
} from "../contracts/message_store_contract.ts";
import { flipByte, openTestStore, putSome } from "../support/local_stores.ts";

messageStoreContract("local store", async () => {
  const test = await openTestStore();
  return {
    store: test.store,
    reopen: () => test.reopen(),
    async damage(ref) {
      const place = placeOf(ref);
      assert.ok(place);
      await flipByte(test.fileOf(ref), place.offset + (place.size >> 1));
    },
    unknown: () => [
      `local:${newSegmentPath("test")}#120+100`,
      `local:${newSegmentPath("test", true)}#120+100`,
      "local:../../../../etc/hostname#0+10",
      "local:2026/11/23/09/../../../../../../etc/hostname#0+10",
      "local:/etc/hostname#0+10",
      "local:FORMAT#0+10",
      "local:#0+10",
      "local:",
      `local:${newSegmentPath("test")}#-1+100`,
      `local:${newSegmentPath("test")}#999999999999999999999+100`,
      `local:${newSegmentPath("test")}#1e3+100`,
      `local:${newSegmentPath("test")}#120+100\n`,
    ],
    [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
  };
});

Deno.test("local store: get() reads no other bytes of a segment as a body", async () => {
  await using test = await openTestStore();
  const ref = await test.store.put(newLabel(), memoryBody(someBytes(5000)));
  const place = placeOf(ref);
  assert.ok(place);
  for (
    const [offset, size] of [[place.offset, 4999], [place.offset + 1, 4999], [0, 5000], [place.offset, 9e14]]
  ) {
    assert.equal(await test.store.get(`local:${place.path}#${offset}+${size}`), undefined);
  }
});

Deno.test("local store: list() tells of a segment that cannot be read after it has listed the others", async () => {
  await using test = await openTestStore();
  const broken = await test.store.put(newLabel(), memoryBody(someBytes(3 << 20)));
  const whole = await test.store.put(newLabel(), memoryBody(someBytes(3 << 20)));
  await Deno.remove(test.fileOf(broken));
  await symlink(test.fileOf(broken), test.fileOf(broken));
  const found: StorageRef[] = [];
  const list = async () => {
    for await (const { ref } of test.store.list(new Date(Date.now() + 60_000))) found.push(ref);
  };
  await assert.rejects(list(), { code: "ELOOP" });
  assert.deepEqual(found, [whole]);
});

Deno.test("local store: list() tells of a folder that cannot be read after it has listed the others", async () => {
  await using test = await openTestStore();
  const ref = await test.store.put(newLabel(), memoryBody(someBytes(100)));
  await Deno.mkdir(join(test.path, "2020", "01"), { recursive: true });
  await symlink("02", join(test.path, "2020", "01", "02"));
  const found: StorageRef[] = [];
  const list = async () => {
    for await (const body of test.store.list(new Date(Date.now() + 60_000))) found.push(body.ref);
  };
  await assert.rejects(list(), { code: "ELOOP" });
  assert.deepEqual(found, [ref]);
});

Deno.test("local store: get() takes no body for gone because a file that it has open shows what was a while ago", async () => {
  await using test = await openTestStore();
  const reader = await test.reopen({ mustExist: true });
  const [early, late] = [someBytes(3000, 1), someBytes(3000, 2)];
  const first = await test.store.put(newLabel(), memoryBody(early));
  const file = test.fileOf(first);
  await Deno.copyFile(file, `${file}.before`);
  const second = await test.store.put(newLabel(), memoryBody(late));
  assert.equal(test.fileOf(second), file);
  await Deno.rename(file, `${file}.now`);
  await Deno.rename(`${file}.before`, file);
  await assertHolds(await reader.get(first), early);
  await Deno.rename(`${file}.now`, file);
  await assertHolds(await reader.get(second), late);
});

Deno.test("local store: get() throws when the folder is not there, for then no body is gone", async () => {
  await using test = await openTestStore();
  const ref = await test.store.put(newLabel(), memoryBody(someBytes(100)));
  const other = await test.reopen();
  await Deno.rename(test.path, `${test.path}-elsewhere`);
  await Deno.mkdir(test.path);
  await assert.rejects(other.get(ref), { code: "ENOENT" });
  await assert.rejects(other.remove(ref), { code: "ENOENT" });
  await assert.rejects(listed(other), { code: "ENOENT" });
  await Deno.remove(test.path);
  await Deno.rename(`${test.path}-elsewhere`, test.path);
  await assertHolds(await other.get(ref), someBytes(100));
});

Deno.test("local store: get() throws when the disk fails in any other way", async () => {
  await using test = await openTestStore();
  const path = newSegmentPath("test");
  await Deno.mkdir(join(test.path, path, ".."), { recursive: true });
  await symlink(path.split("/").at(-1) ?? "", join(test.path, path)); // a loop
  await assert.rejects(test.store.get(`local:${path}#120+100`), { code: "ELOOP" });
});

Deno.test("local store: put() needs far fewer syncs than bodies when they come together", async () => {
  const batches: number[] = [];
  await using test = await openTestStore({ onBatch: (bodies) => batches.push(bodies) });
  await putSome(test.store, 1000, 1000);
  assert.equal(batches.reduce((sum, size) => sum + size, 0), 1000);
  assert.ok(batches.length <= 3, `${batches.length} batches`);
  assert.equal((await test.files()).length, 1);
});

Deno.test("local store: put() refuses when less than minFree is left", async () => {
  await using test = await openTestStore({ minFree: Number.MAX_SAFE_INTEGER });
  await assert.rejects(test.store.checkRoom(), { name: "Refusal", code: "body_store_full" });
  await assert.rejects(test.store.put(newLabel(), memoryBody(someBytes(10))), { code: "body_store_full" });
  assert.deepEqual(await test.files(), []);
});

/** The real disk, but for what a test lets fail. */
function failing(): StoreFiles & { fail: { write?: Error; sync?: Error; syncFolder?: Error } } {
  const fail: { write?: Error; sync?: Error; syncFolder?: Error } = {};
  return {
    ...diskFiles,
    fail,
    async create(path) {
      const file = await diskFiles.create(path);
      return {
        ...file,
        async write(bytes, position) {
          // As a full disk does: some of it is written.
          if (fail.write) await file.write(bytes.subarray(0, bytes.length >> 1), position);
          if (fail.write) throw fail.write;
          await file.write(bytes, position);
        },
        sync: () => fail.sync ? Promise.reject(fail.sync) : file.sync(),
      };
    },
    syncFolder: (path) => fail.syncFolder ? Promise.reject(fail.syncFolder) : diskFiles.syncFolder(path),
  };
}

for (const what of ["write", "sync"] as const) {
  Deno.test(`local store: after a failed ${what} nothing is added to that segment again`, async () => {
    const files = failing();
    await using test = await openTestStore({ files });
    const before = await putSome(test.store, 3, 1000);
    files.fail[what] = new Error("the disk does not work");
    const failed = await Promise.allSettled(
      [1, 2].map(() => test.store.put(newLabel(), memoryBody(someBytes(9)))),
    );
    assert.ok(failed.every((end) => end.status === "rejected"));
    delete files.fail[what];
    const size = (await Deno.stat(test.fileOf(before[0] ?? ""))).size;
    const after = await putSome(test.store, 3, 2000);
    assert.equal((await Deno.stat(test.fileOf(before[0] ?? ""))).size, size);
    assert.notEqual(test.fileOf(after[0] ?? ""), test.fileOf(before[0] ?? ""));
    await Promise.all(
      before.map(async (ref, seed) => assertHolds(await test.store.get(ref), someBytes(1000, seed))),
    );
    await Promise.all(
      after.map(async (ref, seed) => assertHolds(await test.store.get(ref), someBytes(2000, seed))),
    );
    // The failed batch may have left whole bodies, which belong to no row: both of them, or the half that was written.
    assert.equal((await listed(test.store)).length, what === "sync" ? 8 : 7);
  });
}

Deno.test("local store: put() says of a full disk that the store is full", async () => {
  const files = failing();
  await using test = await openTestStore({ files });
  files.fail.write = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  await assert.rejects(test.store.put(newLabel(), memoryBody(someBytes(10))), { code: "body_store_full" });
  await assert.rejects(test.store.put(newLabel(), memoryBody(someBytes(2 << 20))), {
    code: "body_store_full",
  });
  const writer = test.spool.begin(newLabel());
  await assert.rejects(async () => {
    for (let chunk = 0; chunk < 64; chunk++) await writer.write(someBytes(64 << 10));
  }, { code: "body_store_full" });
  await writer.abort();
  assert.equal((await test.files()).filter((name) => name.startsWith("spool/")).length, 0);
});

Deno.test("local store: put() is not durable before the segment's folder is", async () => {
  const files = failing();
  await using test = await openTestStore({ files });
  files.fail.syncFolder = new Error("the disk does not work");
  await assert.rejects(test.store.put(newLabel(), memoryBody(someBytes(10))), /does not work/);
  await assert.rejects(test.store.put(newLabel(), memoryBody(someBytes(2 << 20))), /does not work/);
  delete files.fail.syncFolder;
  const ref = await test.store.put(newLabel(), memoryBody(someBytes(10)));
  await assertHolds(await test.store.get(ref), someBytes(10));
});

Deno.test("local store: a spooled body is written once: its file becomes the segment", async () => {
  await using test = await openTestStore();
  const label = newLabel();
  const bytes = someBytes(5 << 20);
  const writer = test.spool.begin(label);
  for (let at = 0; at < bytes.length; at += 100_000) await writer.write(bytes.subarray(at, at + 100_000));
  await using body = (await writer.finish()).body;
  await assertHolds(body, bytes);
  const [part] = await test.files();
  const inode = (await Deno.stat(join(test.path, part ?? ""))).ino;
  const ref = await test.store.put(label, body);
  assert.equal((await Deno.stat(test.fileOf(ref))).ino, inode);
  await assertHolds(body, bytes);
  await body[Symbol.asyncDispose]();
  await assertHolds(await (await test.reopen()).get(ref), bytes);
  assert.deepEqual(await listed(test.store), [{ ref, label }]);
  assert.equal((await test.files()).length, 1);
});

Deno.test("local store: a spooled body whose sync failed is copied by the next try", async () => {
  const files = failing();
  await using test = await openTestStore({ files });
  const label = newLabel();
  const writer = test.spool.begin(label);
  await writer.write(someBytes(1 << 20));
  await using body = (await writer.finish()).body;
  const [part] = await test.files();
  const inode = (await Deno.stat(join(test.path, part ?? ""))).ino;
  files.fail.sync = new Error("the disk does not work");
  await assert.rejects(test.store.put(label, body), /does not work/);
  delete files.fail.sync;
  const ref = await test.store.put({ ...label, recipients: ["longer@example.org"] }, body);
  assert.notEqual((await Deno.stat(test.fileOf(ref))).ino, inode);
  await assertHolds(await test.store.get(ref), someBytes(1 << 20));
  await body[Symbol.asyncDispose]();
  assert.equal((await test.files()).length, 1);
});

Deno.test("local store: a body with another envelope than was announced is copied, not mangled", async () => {
  await using test = await openTestStore();
  const writer = test.spool.begin(newLabel());
  await writer.write(someBytes(1 << 20));
  await using body = (await writer.finish()).body;
  const label = newLabel(["somebody.else@example.org", "and.another@example.org"]);
  const ref = await test.store.put(label, body);
  await assertHolds(await test.store.get(ref), someBytes(1 << 20));
  assert.deepEqual(await listed(test.store), [{ ref, label }]);
});

Deno.test("local store: what a killed process reported durable is there, and it leaves no trap behind", async () => {
  await using test = await openTestStore();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", new URL("../support/append_bodies.ts", import.meta.url).href, test.path],
    stdout: "piped",
  }).spawn();
  let said = "";
  let isKilled = false;
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    said += text;
    // Once: what it has said before is read when it is gone already.
    if (said.length > 100_000 && !isKilled) child.kill("SIGKILL");
    isKilled = said.length > 100_000;
  }
  assert.equal((await child.status).signal, "SIGKILL");
  const reported = said.split("\n").slice(0, -1).map((line) => line.split(" "));
  assert.ok(reported.length > 500, `${reported.length} bodies`);
  const ids = new Map<string, MessageId>();
  for await (const { ref, id } of test.store.list(new Date(Date.now() + 60_000))) ids.set(ref, id);
  for (const [ref, sha256, id] of reported) {
    await using body = await test.store.get(ref as StorageRef);
    assert.ok(body, `${ref} is gone`);
    assert.equal(createHash("sha256").update(await body.bytes()).digest("hex"), sha256);
    assert.equal(ids.get(ref ?? ""), id);
  }
  const before = (await test.files()).filter((name) => name.endsWith(".seg"));
  const after = await test.store.put(newLabel(), memoryBody(someBytes(10)));
  assert.ok(!before.some((name) => test.fileOf(after).endsWith(name)));
});

Deno.test("local store: fifty bodies of 25 MB at a time stay far from filling the memory", async () => {
  await using test = await openTestStore();
  const chunk = someBytes(64 << 10);
  const before = Deno.memoryUsage().rss;
  let most = 0;
  const refs = await Promise.all(Array.from({ length: 50 }, async () => {
    const label = newLabel();
    const writer = test.spool.begin(label);
    for (let size = 0; size < 25 << 20; size += chunk.length) {
      await writer.write(chunk);
      most = Math.max(most, Deno.memoryUsage().rss);
    }
    await using body = (await writer.finish()).body;
    const ref = await test.store.put(label, body);
    most = Math.max(most, Deno.memoryUsage().rss);
    return ref;
  }));
  assert.ok(most - before < 300 << 20, `${(most - before) >> 20} MiB more than before`);
  for (const ref of refs) assert.equal((await test.store.get(ref))?.size, 25 << 20);
});

Deno.test("openLocalStore() refuses an instance that could leave the folder, and a folder of another format", async () => {
  await using test = await openTestStore();
  await assert.rejects(test.reopen({ instance: "../x" }), /current value of instance is "\.\.\/x"/);
  await Deno.writeTextFile(join(test.path, "FORMAT"), "smtp-proxy bodies, format 2\n");
  await assert.rejects(test.reopen(), /format 2/);
});

Deno.test("openStore() refuses references to stores that are not configured", async () => {
  await using test = await openTestStore();
  await using store = await openStore({ type: "local", path: test.path, instance: "other", minFree: 0 });
  await assert.rejects(store.get("s3:bucket/key"), /Cannot reach the store/);
  await assert.rejects(store.get("inline"), /Cannot reach the store/);
});

Deno.test("local store: put() writes nothing into the empty folder of a store that is not mounted", async () => {
  await using test = await openTestStore();
  const [path, away] = [test.path, `${test.path}.away`];
  const ref = await test.store.put(newLabel(), memoryBody(someBytes(100, 1)));
  const other = await test.reopen(); // with no segment open
  await Deno.rename(path, away);
  await Deno.mkdir(path);
  for (let tries = 0; tries < 3; tries++) {
    await assert.rejects(other.put(newLabel(), memoryBody(someBytes(100, 2))), { code: "ENOENT" });
  }
  assert.deepEqual(await Array.fromAsync(Deno.readDir(path)), []);
  await Deno.remove(path);
  await Deno.rename(away, path);
  await assertHolds(await test.store.get(ref), someBytes(100, 1));
  await other.put(newLabel(), memoryBody(someBytes(100, 2)));
});

Deno.test("openLocalStore() makes nothing where the store must exist, and takes no body for gone meanwhile", async () => {
  await using test = await openTestStore();
  const [path, away] = [test.path, `${test.path}.away`];
  const ref = await test.store.put(newLabel(), memoryBody(someBytes(100, 1)));
  await Deno.rename(path, away);
  const reader = await test.reopen({ mustExist: true });
  await assert.rejects(reader.get(ref), { code: "ENOENT" });
  await assert.rejects(Deno.stat(path), Deno.errors.NotFound);
  await Deno.rename(away, path);
  await assertHolds(await reader.get(ref), someBytes(100, 1));
});
