import assert from "node:assert/strict";
import {
  newKeyText,
  parseKeys,
  providerOwner,
  readKeys,
  seal,
  SealError,
  type SealingKeys,
  unseal,
} from "./seal.ts";

async function keysOf(...ids: string[]): Promise<SealingKeys> {
  const keys = await parseKeys(ids.map(newKeyText).join(","));
  assert.ok(keys);
  return keys;
}

const owner = providerOwner("g1", "p1");

Deno.test("seal() hides a text that unseal() gives back to the same owner", async () => {
  const keys = await keysOf("a");
  for (const text of ["", "hunter2", '{"password":"pässword"}', "x".repeat(100_000)]) {
    const sealed = await seal(text, owner, keys);
    assert.equal(sealed.keyId, "a");
    assert.equal(sealed.bytes.length, 12 + new TextEncoder().encode(text).length + 16);
    assert.equal(await unseal(sealed, owner, keys), text);
  }
});

Deno.test("seal() never makes the same bytes twice", async () => {
  const keys = await keysOf("a");
  const nonces = new Set<string>();
  for (let n = 0; n < 100; n++) nonces.add((await seal("same", owner, keys)).bytes.subarray(0, 12).toHex());
  assert.equal(nonces.size, 100);
});

Deno.test("unseal() refuses another owner, changed bytes and a cut text as damaged", async () => {
  const keys = await keysOf("a");
  const sealed = await seal("hunter2", owner, keys);
  const changed = sealed.bytes.slice();
  changed[15] = (changed[15] ?? 0) ^ 1;
  const attempts = [
    () => unseal(sealed, providerOwner("g2", "p1"), keys),
    () => unseal({ ...sealed, bytes: changed }, owner, keys),
    () => unseal({ ...sealed, bytes: sealed.bytes.subarray(0, 20) }, owner, keys),
    () => unseal({ ...sealed, bytes: new Uint8Array() }, owner, keys),
  ];
  for (const attempt of attempts) {
    await assert.rejects(attempt, (error) => error instanceof SealError && error.reason === "damaged");
  }
});

Deno.test("unseal() opens with every key, also after another began to seal", async () => {
  const [old] = await keysOf("old");
  const [fresh] = await keysOf("new");
  const sealed = await seal("hunter2", owner, [old]);
  assert.equal(await unseal(sealed, owner, [fresh, old]), "hunter2");
  assert.equal((await seal("hunter2", owner, [fresh, old])).keyId, "new");
  await assert.rejects(
    unseal(sealed, owner, [fresh]),
    (error) => error instanceof SealError && error.reason === "unknown_key" && /"old"/.test(error.message),
  );
});

Deno.test("unseal() refuses what another key of the same id sealed", async () => {
  const sealed = await seal("hunter2", owner, await keysOf("a"));
  await assert.rejects(unseal(sealed, owner, await keysOf("a")), SealError);
});

Deno.test("readKeys() says which key is wrong and never shows one", () => {
  const good = newKeyText("good");
  const short = new Uint8Array(16).fill(7).toBase64();
  assert.throws(() => readKeys(`${good},old:${short}`), /Cannot read key "old": expected 32 bytes/);
  assert.throws(() => readKeys(`${good},nonsense`), /Cannot read key 2: expected id:base64/);
  assert.throws(() => readKeys(`a:!!!!`), /Cannot read key "a": it is not base64/);
  assert.throws(() => readKeys(`${good},${good}`), /an id is there twice/);
  assert.deepEqual(readKeys(" "), []);
  assert.equal(readKeys(`${good}, ${newKeyText("b")}`).length, 2);
});

Deno.test("parseKeys() has nothing to give when there are no keys", async () => {
  assert.equal(await parseKeys(""), undefined);
});
