import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { hashApiKey, issueApiKey, looksLikeApiKey, withoutKeys } from "./api_key.ts";

Deno.test("issueApiKey() makes keys that look like keys, all different, with prefix and SHA-256", async () => {
  const keys = new Set<string>();
  for (let n = 0; n < 200; n++) {
    const { key, prefix, hash } = await issueApiKey();
    assert.equal(looksLikeApiKey(key), true, key);
    assert.equal(key.length, 55);
    assert.equal(key.slice(3, 11), prefix);
    assert.deepEqual(hash, new Uint8Array(createHash("sha256").update(key).digest()));
    keys.add(key);
  }
  assert.equal(keys.size, 200);
});

Deno.test("hashApiKey() is the same for the same key", async () => {
  const { key, hash } = await issueApiKey();
  assert.deepEqual(await hashApiKey(key), hash);
});

Deno.test("looksLikeApiKey() takes passwords, tokens and cut keys for none", async () => {
  const { key } = await issueApiKey();
  const others = [
    "",
    "dev",
    "sp_",
    key.slice(0, -1),
    `${key}A`,
    ` ${key}`,
    `${key}\n`,
    key.replace("sp_", "sk_"),
    "a.b.c",
  ];
  for (const other of others) assert.equal(looksLikeApiKey(other), false, other);
});

Deno.test("withoutKeys() leaves the secret of every key out, also of cut ones, and all else as it is", async () => {
  const { key, prefix } = await issueApiKey();
  const shown = `sp_${prefix}_…`;
  const cases = [
    [key, shown],
    [`user:${key}\n`, `user:${shown}\n`],
    [` ${key.slice(0, -3)} and ${key}=`, ` ${shown} and ${shown}=`],
    [key.toLowerCase(), shown.toLowerCase()],
    ["sp_shop@example.com", "sp_shop@example.com"],
    [shown, shown],
  ] as const;
  for (const [text, expected] of cases) assert.equal(withoutKeys(text), expected, text);
});
