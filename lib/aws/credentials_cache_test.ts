import assert from "node:assert/strict";
import type { AwsCredentials } from "./aws_credentials.ts";
import { CachedCredentials } from "./credentials_cache.ts";

const minute = 60_000;

/** A source of numbered keys that live for an hour, and a clock. */
function numbered(graceMs = 0, lifeMs = 60 * minute) {
  const world = { ms: 1_700_000_000_000, loads: 0, error: undefined as Error | undefined };
  const load = async (): Promise<AwsCredentials> => {
    world.loads++;
    await Promise.resolve();
    if (world.error !== undefined) throw world.error;
    return {
      accessKeyId: `key${world.loads}`,
      secretAccessKey: "s",
      expiresAt: new Date(world.ms + lifeMs),
    };
  };
  return { world, source: new CachedCredentials(load, { now: () => new Date(world.ms), graceMs }) };
}

Deno.test("resolve() asks once for all who wait, and again five minutes before the end", async () => {
  const { world, source } = numbered();
  const first = await Promise.all([source.resolve(), source.resolve(), source.resolve()]);
  assert.deepEqual(first.map((one) => one.accessKeyId), ["key1", "key1", "key1"]);
  world.ms += 55 * minute - 1;
  assert.equal((await source.resolve()).accessKeyId, "key1");
  world.ms += 1;
  const second = await Promise.all([source.resolve(), source.resolve()]);
  assert.deepEqual(second.map((one) => one.accessKeyId), ["key2", "key2"]);
  assert.equal(world.loads, 2);
});

Deno.test("resolve() keeps keys without an end for ever", async () => {
  let loads = 0;
  const load = () => Promise.resolve({ accessKeyId: `key${++loads}`, secretAccessKey: "s" });
  let ms = 0;
  const source = new CachedCredentials(load, { now: () => new Date(ms) });
  await source.resolve();
  ms += 1e12;
  assert.equal((await source.resolve()).accessKeyId, "key1");
});

Deno.test("resolve() gives the old ones out while they are valid and no others can be had", async () => {
  const { world, source } = numbered();
  await source.resolve();
  world.error = new Error("down");
  world.ms += 56 * minute;
  assert.equal((await source.resolve()).accessKeyId, "key1");
  assert.equal((await source.resolve()).accessKeyId, "key1");
  assert.equal(world.loads, 2, "a failure is not asked for again at once");
  world.ms += 4 * minute;
  await assert.rejects(source.resolve(), /down/);
  world.error = undefined;
  world.ms += 5000;
  assert.equal((await source.resolve()).accessKeyId, "key4");
});

Deno.test("resolve() gives keys out beyond their end for as long as the terms say", async () => {
  const { world, source } = numbered(15 * minute);
  await source.resolve();
  world.error = new Error("down");
  world.ms += 74 * minute;
  assert.equal((await source.resolve()).accessKeyId, "key1");
  world.ms += 2 * minute;
  await assert.rejects(source.resolve(), /down/);
});

Deno.test("resolve() asks twice a minute at most for keys that end at once", async () => {
  const { world, source } = numbered(0, 1000);
  for (let second = 0; second < 60; second++, world.ms += 1000) await source.resolve();
  assert.equal(world.loads, 2);
});

Deno.test("reject() makes the next resolve ask, but not for keys got a moment ago nor for others", async () => {
  const { world, source } = numbered();
  const first = await source.resolve();
  source.reject(first);
  assert.equal((await source.resolve()).accessKeyId, "key1");
  world.ms += minute;
  source.reject({ accessKeyId: "other", secretAccessKey: "s" });
  assert.equal((await source.resolve()).accessKeyId, "key1");
  source.reject(first);
  assert.equal((await source.resolve()).accessKeyId, "key2");
});
