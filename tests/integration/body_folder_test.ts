import assert from "node:assert/strict";
import { join } from "node:path";
import { type Database, openDatabase } from "../../lib/postgres/database.ts";
import { openStore } from "../../lib/store/open_store.ts";
import { isStoreAway, storeMark } from "../../services/smtp-server/body_folder.ts";
import { testDatabase } from "../support/postgres.ts";

async function withFolder(work: (database: Database, folder: string) => Promise<void>): Promise<void> {
  await using own = await testDatabase();
  await using database = openDatabase({ url: own.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" });
  const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_folder_" });
  try {
    await work(database, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function knownTo(database: Database): Promise<number> {
  return (await database.system`select id from stores`).length;
}

Deno.test("isStoreAway() marks the first folder, also one that is yet to be made, and knows it again", async () => {
  await withFolder(async (database, folder) => {
    const path = join(folder, "messages");
    const answers = await Promise.all([1, 2, 3].map(() => isStoreAway(database, path)));
    assert.deepEqual(answers, [false, false, false]);
    assert.equal(await knownTo(database), 1, "several that start at a time share it");
    assert.match(await Deno.readTextFile(join(path, storeMark)), /^[0-9a-f-]{36}\n$/);
    await using _store = await openStore({ type: "local", path, instance: "0", minFree: 0 });
    assert.equal(await isStoreAway(database, path), false);
  });
});

Deno.test("isStoreAway() finds a folder away that is not there, or in whose place an empty one is", async () => {
  await withFolder(async (database, folder) => {
    const [path, away] = [join(folder, "messages"), join(folder, "away")];
    await isStoreAway(database, path);
    await Deno.rename(path, away);
    assert.equal(await isStoreAway(database, path), true);
    await Deno.mkdir(path);
    assert.equal(await isStoreAway(database, path), true);
    assert.deepEqual([...Deno.readDirSync(path)], [], "nothing is made in its place");
    await Deno.remove(path);
    await Deno.rename(away, path);
    assert.equal(await isStoreAway(database, path), false);
    assert.equal(await knownTo(database), 1);
  });
});

Deno.test("isStoreAway() takes a further folder that is a store, or that somebody marked as a new one", async () => {
  await withFolder(async (database, folder) => {
    await isStoreAway(database, join(folder, "first"));
    const [moved, fresh, foreign] = ["moved", "fresh", "foreign"].map((name) => join(folder, name));
    assert.ok(moved && fresh && foreign);
    await using _store = await openStore({ type: "local", path: moved, instance: "0", minFree: 0 });
    assert.equal(await isStoreAway(database, moved), false);
    await Deno.mkdir(fresh);
    await Deno.writeTextFile(join(fresh, storeMark), "");
    assert.equal(await isStoreAway(database, fresh), false);
    assert.equal(await knownTo(database), 3);
    await Deno.mkdir(foreign);
    await Deno.writeTextFile(join(foreign, storeMark), "something else");
    await assert.rejects(isStoreAway(database, foreign), /current value of .* is "something else"/);
  });
});
