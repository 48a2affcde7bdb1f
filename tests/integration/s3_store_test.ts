import assert from "node:assert/strict";
import { join } from "node:path";
import { type MessageId, newId, timeOfId } from "../../lib/ids.ts";
import type { StorageRef } from "../../lib/messages/message.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { openStore } from "../../lib/store/open_store.ts";
import { pathOf, refOf } from "../../lib/store/s3_ref.ts";
import { until } from "../../services/dev/processes.ts";
import { openS3Store } from "../../lib/store/s3_store.ts";
import { newSegmentPath } from "../../lib/store/segment_ref.ts";
import {
  assertHolds,
  listed,
  messageStoreContract,
  newLabel,
  someBytes,
} from "../contracts/message_store_contract.ts";
import { fakeBucket } from "../support/fake_s3.ts";
import { openTestStore } from "../support/local_stores.ts";
import { fixedCredentials, keyOf, openTestS3Store, testPrefix } from "../support/s3_stores.ts";

messageStoreContract("S3 store", () => {
  const test = openTestS3Store();
  return Promise.resolve({
    store: test.store,
    reopen: () => Promise.resolve(test.reopen()),
    damage(ref) {
      const object = test.fake.bucket.objects.get(keyOf(ref));
      assert.ok(object);
      const bytes = object.bytes.slice();
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 0xff;
      test.fake.bucket.objects.set(keyOf(ref), { ...object, bytes });
      return Promise.resolve();
    },
    unknown: () => [
      refOf({ path: pathOf(newId<MessageId>()), size: 100 }),
      refOf({ path: pathOf(newId<MessageId>()), size: 100 << 20 }),
      "s3:other-bucket/key",
      "s3:../../../etc/hostname+10",
      `s3:${pathOf(newId<MessageId>())}+-1`,
      `s3:${pathOf(newId<MessageId>())}+10\n`,
      `s3:/${pathOf(newId<MessageId>())}+10`,
      "s3:",
    ],
    [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
  });
});

const mib = 1 << 20;

Deno.test("S3 store: a body lies under its prefix, hour and id, with what it takes to rebuild its row", async () => {
  await using test = openTestS3Store();
  const label = newLabel(["a@example.org", "ü@example.org"]);
  const ref = await test.store.put(label, memoryBody(someBytes(100)));
  const hour = new Date(timeOfId(label.id)).toISOString().slice(0, 13).replaceAll(/[-T]/g, "/");
  assert.match(ref, new RegExp(`^s3:${hour}/${label.id}\\.eml\\+100$`));
  assert.deepEqual([...test.fake.bucket.objects.keys()], [`${testPrefix}/${ref.slice(3, -4)}`]);
  assert.equal(test.fake.bucket.objects.get(keyOf(ref))?.headers["content-type"], "message/rfc822");
  assert.deepEqual(await listed(test.store), [{ ref, label }]);
});

Deno.test("S3 store: a label says how many recipients it has no room for", async () => {
  await using test = openTestS3Store();
  const label = newLabel(Array.from({ length: 1000 }, (_, index) => `recipient-${index}@example.org`));
  await test.store.put(label, memoryBody(someBytes(10)));
  const [found] = await Array.fromAsync(test.store.list(new Date(Date.now() + 60_000)));
  const kept = await found?.label();
  assert.ok(kept && kept.recipients.length > 10);
  assert.deepEqual(kept.recipients, label.recipients.slice(0, kept.recipients.length));
  assert.equal(kept.leftOut, 1000 - kept.recipients.length);
});

Deno.test("S3 store: a large body goes in parts of 8 MiB and comes back as it was", async () => {
  await using test = openTestS3Store();
  const bytes = someBytes(20 * mib + 5);
  const ref = await test.store.put(newLabel(), memoryBody(bytes));
  const key = keyOf(ref);
  assert.deepEqual(test.fake.requests, [
    `POST ${key} uploads`,
    `PUT ${key} partNumber uploadId`,
    `PUT ${key} partNumber uploadId`,
    `PUT ${key} partNumber uploadId`,
    `POST ${key} uploadId`,
  ]);
  assert.equal(test.fake.bucket.uploads.size, 0);
  await assertHolds(await test.store.get(ref), bytes);
});

for (const size of [1000, 9 * mib]) {
  Deno.test(`S3 store: put() of ${size} bytes succeeds when its first answer was lost, and writes once`, async () => {
    await using test = openTestS3Store();
    const bytes = someBytes(size);
    test.fake.trouble((method, url) => {
      return method === (size > mib ? "POST" : "PUT") && !url.searchParams.has("uploads") &&
        !url.searchParams.has("partNumber");
    }, { kind: "answer_lost" });
    const ref = await test.store.put(newLabel(), memoryBody(bytes));
    await assertHolds(await test.store.get(ref), bytes);
    assert.equal(test.fake.requests.filter((line) => line.startsWith("HEAD")).length >= 1, true);
    assert.equal(test.fake.bucket.uploads.size, 0);
  });

  Deno.test(`S3 store: put() of ${size} bytes never overwrites a body that is another`, async () => {
    await using test = openTestS3Store();
    const label = newLabel();
    const ref = await test.store.put(label, memoryBody(someBytes(size, 1)));
    await assert.rejects(
      test.store.put(label, memoryBody(someBytes(size, 2))),
      /another one lies at its key/,
    );
    await assertHolds(await test.store.get(ref), someBytes(size, 1));
    assert.equal(await test.store.put(label, memoryBody(someBytes(size, 1))), ref);
    assert.equal(test.fake.bucket.uploads.size, 0);
  });

  for (const code of ["NotImplemented", undefined]) {
    Deno.test(`S3 store: put() of ${size} bytes overwrites nothing where conditions are not known (${code ?? "no code"})`, async () => {
      await using test = openTestS3Store();
      test.fake.bucket.conditional = false;
      test.fake.bucket.unconditionalCode = code;
      const label = newLabel();
      const ref = await test.store.put(label, memoryBody(someBytes(size, 1)));
      await test.store.put(newLabel(), memoryBody(someBytes(size, 2)));
      await assert.rejects(
        test.store.put(label, memoryBody(someBytes(size, 3))),
        /another one lies at its key/,
      );
      // A process that has yet to learn that the service knows no condition.
      await using other = test.reopen();
      await assert.rejects(other.put(label, memoryBody(someBytes(size, 3))), /another one lies at its key/);
      await assertHolds(await test.store.get(ref), someBytes(size, 1));
      assert.equal(await test.store.put(label, memoryBody(someBytes(size, 1))), ref);
      assert.equal(test.fake.bucket.uploads.size, 0);
    });
  }
}

Deno.test("S3 store: list() takes back uploads that were begun before and never ended, and no other", async () => {
  await using test = openTestS3Store();
  const started = { begun: new Date(Date.now() - 3_600_000), headers: {}, parts: new Map() };
  test.fake.bucket.uploads.set("old", { ...started, key: `${testPrefix}/old.eml` });
  test.fake.bucket.uploads.set("foreign", { ...started, key: "elsewhere/old.eml" });
  test.fake.bucket.uploads.set("young", { ...started, key: `${testPrefix}/young.eml`, begun: new Date() });
  await listed(test.store, new Date(Date.now() - 60_000));
  assert.deepEqual([...test.fake.bucket.uploads.keys()], ["foreign", "young"]);
});

Deno.test("S3 store: list() goes through all pages and past what is no body", async () => {
  await using test = openTestS3Store();
  test.fake.bucket.pageSize = 3;
  const refs: string[] = [];
  for (let seed = 0; seed < 10; seed++) {
    refs.push(await test.store.put(newLabel(), memoryBody(someBytes(seed))));
  }
  const foreign = { bytes: someBytes(1), headers: {}, etag: '"x"', modified: new Date(0) };
  test.fake.bucket.objects.set(`${testPrefix}/0000/readme.txt`, foreign);
  test.fake.bucket.objects.set(`${testPrefix}-other/2026/11/23/00/x.eml`, foreign);
  assert.deepEqual((await listed(test.store)).map(({ ref }) => ref), refs);
});

Deno.test("S3 store: what S3 keeps is encrypted as is set", async () => {
  await using test = openTestS3Store();
  for (const size of [10, 9 * mib]) {
    const kms = test.reopen({ encryption: { kind: "aws:kms", keyId: "alias/mail" } });
    const first = await kms.put(newLabel(), memoryBody(someBytes(size)));
    const headers = test.fake.bucket.objects.get(keyOf(first))?.headers ?? {};
    assert.equal(headers["x-amz-server-side-encryption"], "aws:kms");
    assert.equal(headers["x-amz-server-side-encryption-aws-kms-key-id"], "alias/mail");
    const plain = test.reopen({ encryption: { kind: "AES256" } });
    const second = await plain.put(newLabel(), memoryBody(someBytes(size)));
    assert.equal(
      test.fake.bucket.objects.get(keyOf(second))?.headers["x-amz-server-side-encryption"],
      "AES256",
    );
  }
});

Deno.test("S3 store: bodies on their way take no more memory than is set", async () => {
  let open = 0;
  let most = 0;
  const uploadMemory = 2 * mib;
  await using test = openTestS3Store({ uploadMemory });
  const store = test.reopen({
    fetch: async (input, init) => {
      most = Math.max(most, ++open);
      try {
        // Nobody is done before there are as many as may be.
        await until(() => most >= 4, 60_000);
        return await fetch(input, init);
      } finally {
        open--;
      }
    },
  });
  await Promise.all(
    Array.from({ length: 40 }, (_, seed) => store.put(newLabel(), memoryBody(someBytes(500, seed)))),
  );
  assert.equal(most, 4);
  assert.equal(test.fake.bucket.objects.size, 40);
});

Deno.test("S3 store: checkThere() throws while the bucket does not answer", async () => {
  await using test = openTestS3Store();
  await test.store.checkThere();
  const denied = { kind: "error", error: { status: 403, code: "AccessDenied" } } as const;
  test.fake.trouble((method) => method === "HEAD", denied);
  await assert.rejects(test.reopen().checkThere(), /HTTP 403/);
});

Deno.test("openS3Store() refuses settings that cannot be right", () => {
  const place = {
    bucket: fakeBucket,
    prefix: "",
    endpoint: "",
    region: "us-east-1",
    addressing: "auto",
  } as const;
  const wrong = [
    { bucket: "" },
    { bucket: "Upper" },
    { bucket: "10.0.0.1" },
    { prefix: "/a" },
    { prefix: "a/../b" },
    { prefix: "a//b" },
    { endpoint: "minio:9000" },
    { endpoint: "ftp://minio" },
    { endpoint: "https://user:password@minio" },
    { endpoint: "https://minio/path" },
    { region: "" },
    { region: "evil.example/" },
  ];
  for (const fault of wrong) {
    assert.throws(
      () =>
        openS3Store({
          place: { ...place, ...fault },
          credentials: fixedCredentials(),
          fetch,
          now: () => new Date(),
        }),
      /Cannot open the body store: storage\.s3_/,
      JSON.stringify(fault),
    );
  }
});

Deno.test("openStore() reads, removes and lists the bodies of both stores, whichever it puts new ones in", async () => {
  await using test = openTestS3Store();
  await using local = await openTestStore();
  const options = { path: local.path, instance: "both", minFree: 0, s3: test.options };
  const refs: StorageRef[] = [];
  for (const type of ["s3", "local"] as const) {
    await using store = await openStore({ type, ...options });
    const ref = await store.put(newLabel(), memoryBody(someBytes(100)));
    assert.ok(ref.startsWith(`${type}:`));
    refs.push(ref);
    await store.checkRoom();
    await store.checkThere();
    for (const other of refs) await assertHolds(await store.get(other), someBytes(100));
    assert.deepEqual((await listed(store)).map((body) => body.ref).sort(), [...refs].sort());
  }
  await using last = await openStore({ type: "s3", ...options });
  for (const ref of refs) await last.remove(ref);
  assert.deepEqual(await listed(last), []);
  await assert.rejects(last.get("inline"), /Cannot reach the store/);
});

Deno.test("openStore() lists the bodies of one store although the other fails", async () => {
  await using test = openTestS3Store();
  await using local = await openTestStore();
  const options = { path: local.path, instance: "both", minFree: 0, s3: test.options };
  await using store = await openStore({ type: "local", ...options });
  await using other = await openStore({ type: "s3", ...options });
  await store.put(newLabel(), memoryBody(someBytes(100)));
  const ref = await other.put(newLabel(), memoryBody(someBytes(100)));
  await Deno.remove(join(local.path, "FORMAT"));
  const found: StorageRef[] = [];
  const list = async () => {
    for await (const body of store.list(new Date(Date.now() + 60_000))) found.push(body.ref);
  };
  await assert.rejects(list(), { code: "ENOENT" });
  assert.deepEqual(found, [ref]);
});

Deno.test("openStore() needs no local folder for bodies in S3, and a bucket for them", async () => {
  await using test = openTestS3Store();
  const path = await Deno.makeTempDir();
  await Deno.remove(path);
  const options = { type: "s3", path, instance: "s3", minFree: 0 } as const;
  await using store = await openStore({ ...options, s3: test.options });
  const ref = await store.put(newLabel(), memoryBody(someBytes(100)));
  assert.deepEqual((await listed(store)).map((body) => body.ref), [ref]);
  await assert.rejects(store.get(`local:${newSegmentPath("test")}#120+100`), { code: "ENOENT" });
  await assert.rejects(openStore(options), /storage\.s3_bucket is empty/);
});
