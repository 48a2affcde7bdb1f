import assert from "node:assert/strict";
import { type GroupId, newId, type ProviderId } from "../../lib/ids.ts";
import { openDatabase, openSession, type Session } from "../../lib/postgres/database.ts";
import { newKeyText, parseKeys, providerOwner, seal, unseal } from "../../lib/secrets/seal.ts";
import { reseal } from "../../services/seal/reseal.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { runProgram } from "../support/run_program.ts";
import { makeAccount } from "../support/submissions.ts";

const [first, old, lost] = [newKeyText("new"), newKeyText("old"), newKeyText("lost")];

/** A database with providers of two groups, sealed with the keys given. */
async function sealedWith(
  database: TestDatabase,
  keyTexts: readonly string[],
): Promise<readonly ProviderId[]> {
  await using owner = await openSession({ url: database.ownerUrl });
  const groups = [await makeAccount(database.ownerUrl), await makeAccount(database.ownerUrl)];
  const ids: ProviderId[] = [];
  for (const [index, keyText] of keyTexts.entries()) {
    const group = groups[index % 2]?.group as GroupId;
    const id = newId<ProviderId>();
    await owner.query(
      "insert into esp_providers (id, group_id, name, provider_type) values ($1, $2, 'relay', 'smtp')",
      [id, group],
    );
    await write(owner, id, `secret ${index}`, keyText);
    ids.push(id);
  }
  return ids;
}

async function write(owner: Session, id: ProviderId, text: string, keyText: string): Promise<void> {
  const [row] = await owner.query("select group_id from esp_providers where id = $1", [id]);
  const keys = await parseKeys(keyText);
  assert.ok(keys);
  const sealed = await seal(text, providerOwner(row?.["group_id"] as GroupId, id), keys);
  const values = [id, sealed.bytes, sealed.keyId];
  await owner.query("update esp_providers set secrets = $2, key_id = $3 where id = $1", values);
}

/** What the providers hold, opened with the one key given; undefined where it does not open. */
async function opened(owner: Session, ids: readonly ProviderId[], keyText: string) {
  const keys = await parseKeys(keyText) ?? [];
  const texts: (string | undefined)[] = [];
  for (const id of ids) {
    const [row] = await owner.query("select group_id, secrets, key_id from esp_providers where id = $1", [
      id,
    ]);
    const sealed = { keyId: String(row?.["key_id"]), bytes: row?.["secrets"] as Uint8Array };
    texts.push(
      await unseal(sealed, providerOwner(row?.["group_id"] as GroupId, id), keys).catch(() => undefined),
    );
  }
  return texts;
}

function runSeal(database: TestDatabase, keys: string, ...args: readonly string[]) {
  const url = database.urlFor("smtp_proxy_admin");
  return runProgram("seal", args, { SMTP_PROXY_DATABASE_URL: url, SMTP_PROXY_SECRETS_KEYS: keys });
}

Deno.test("seal tells which keys are needed, and seals again what it can open with the first", async () => {
  await using database = await testDatabase();
  const ids = await sealedWith(database, [old, old, first, lost, old]);
  await using owner = await openSession({ url: database.ownerUrl });
  const [before] = await owner.run("select sum(revision)::int as sum from groups");
  const told = await runSeal(database, `${first},${old}`);
  assert.deepEqual([told.code, told.stderr], [0, ""]);
  assert.deepEqual(told.stdout.trim().split("\n"), [
    "key new: seals, 1 sealed with it",
    "key old: still needed, 3 sealed with it",
    "key lost: not among secrets.keys, 1 cannot be opened",
  ]);
  const again = await runSeal(database, `${first},${old}`, "--again");
  assert.deepEqual([again.code, again.stderr], [1, ""], "one secret still needs another key");
  assert.deepEqual(again.stdout.trim().split("\n"), [
    "sealed again: 3",
    "key new: seals, 4 sealed with it",
    "key old: needed no more",
    "key lost: not among secrets.keys, 1 cannot be opened",
  ]);
  assert.deepEqual(await opened(owner, ids, first), [
    "secret 0",
    "secret 1",
    "secret 2",
    undefined,
    "secret 4",
  ]);
  assert.equal((await opened(owner, ids, lost))[3], "secret 3");
  const [after] = await owner.run("select sum(revision)::int as sum from groups");
  assert.equal(Number(after?.["sum"]) - Number(before?.["sum"]), 3, "workers learn of each change");
  for (const { key } of [{ key: first }, { key: old }, { key: lost }]) {
    assert.ok(!`${told.stdout}${again.stdout}`.includes(key.split(":")[1] ?? ""), "a key was shown");
  }
});

Deno.test("seal --again ends with 0 when the first key is all that is needed, and tells what is damaged", async () => {
  await using database = await testDatabase();
  const ids = await sealedWith(database, [old, old]);
  await using owner = await openSession({ url: database.ownerUrl });
  await owner.query("update esp_providers set secrets = $2 where id = $1", [ids[1], new Uint8Array(40)]);
  const damaged = await runSeal(database, `${first},${old}`, "--again");
  assert.equal(damaged.code, 1);
  assert.match(damaged.stdout, new RegExp(`^provider ${ids[1]}: its key does not open it\ndamaged: 1$`, "m"));
  assert.deepEqual(await opened(owner, ids, first), ["secret 0", undefined]);
  await write(owner, ids[1] as ProviderId, "mended", old);
  assert.equal((await runSeal(database, `${first},${old}`, "--again")).code, 0);
  assert.deepEqual(await opened(owner, ids, first), ["secret 0", "mended"]);
  const none = await runSeal(database, "", "--again");
  assert.deepEqual([none.code, none.stderr], [1, "Cannot seal again: secrets.keys names no key\n"]);
  assert.match(
    (await runSeal(database, "")).stdout,
    /^key new: not among secrets.keys, 2 cannot be opened$/m,
  );
  assert.equal((await runSeal(database, first, "--agian")).code, 1);
});

Deno.test("reseal() leaves what somebody writes meanwhile, and seals that again too", async () => {
  await using database = await testDatabase();
  const ids = await sealedWith(database, Array.from({ length: 7 }, () => old));
  await using owner = await openSession({ url: database.ownerUrl });
  await using watcher = await openSession({ url: database.ownerUrl });
  const url = database.urlFor("smtp_proxy_admin");
  await using administrators = openDatabase({ url, role: "smtp_proxy_admin" });
  await using groups = openDatabase({ url, role: "smtp_proxy_group" });
  const keys = await parseKeys(`${first},${old}`);
  assert.ok(keys);
  await owner.run("begin");
  await write(owner, ids[3] as ProviderId, "changed meanwhile", old);
  const running = reseal({ administrators, groups, keys, pageSize: 2 });
  const waiting = "select from pg_locks where not granted";
  while ((await watcher.run(waiting)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await owner.run("commit");
  assert.deepEqual(await running, { done: 7, damaged: [] });
  const texts = ids.map((_, index) => index === 3 ? "changed meanwhile" : `secret ${index}`);
  assert.deepEqual(await opened(owner, ids, first), texts);
});
