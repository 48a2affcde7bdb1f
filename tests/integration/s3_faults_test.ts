import assert from "node:assert/strict";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { assertHolds, newLabel, someBytes } from "../contracts/message_store_contract.ts";
import { fakeBucket, fakeKeys } from "../support/fake_s3.ts";
import { fixedCredentials, openTestS3Store } from "../support/s3_stores.ts";

const mib = 1 << 20;

for (
  const [status, code] of [[500, "InternalError"], [503, "SlowDown"], [502, "Bad"], [
    409,
    "OperationAborted",
  ]] as const
) {
  Deno.test(`S3 store: put(), get() and remove() are tried again after ${status} ${code}`, async () => {
    await using test = openTestS3Store();
    const error = { kind: "error", error: { status, code } } as const;
    test.fake.trouble((method) => method === "PUT", error, error);
    test.fake.trouble((method) => method === "GET", error, error, error);
    test.fake.trouble((method) => method === "DELETE", error);
    const ref = await test.store.put(newLabel(), memoryBody(someBytes(1000)));
    await assertHolds(await test.store.get(ref), someBytes(1000));
    await test.store.remove(ref);
    assert.equal(test.fake.bucket.objects.size, 0);
    assert.equal(test.waits.length, 6);
  });
}

Deno.test("S3 store: tries end after five, with the service's own word and its request's id", async () => {
  await using test = openTestS3Store();
  const slow = { kind: "error", error: { status: 503, code: "SlowDown" } } as const;
  test.fake.trouble(() => true, slow, slow, slow, slow, slow);
  await assert.rejects(test.store.put(newLabel(), memoryBody(someBytes(10))), {
    name: "S3Error",
    message: "Cannot store a body in S3: SlowDown (request REQ1)",
  });
  assert.equal(test.fake.requests.length, 5);
});

for (
  const [status, code] of [[403, "AccessDenied"], [404, "NoSuchBucket"], [400, "EntityTooLarge"]] as const
) {
  Deno.test(`S3 store: ${code} is told at once, and is no body that is gone`, async () => {
    await using test = openTestS3Store();
    const ref = await test.store.put(newLabel(), memoryBody(someBytes(10)));
    const error = { kind: "error", error: { status, code } } as const;
    test.fake.trouble(() => true, error, error, error);
    await assert.rejects(test.store.get(ref), new RegExp(code));
    await assert.rejects(test.store.put(newLabel(), memoryBody(someBytes(10))), new RegExp(code));
    await assert.rejects(test.store.remove(ref), new RegExp(code));
    assert.deepEqual(test.waits, []);
  });
}

Deno.test("S3 store: a large body in a bucket that is missing is not gone", async () => {
  await using test = openTestS3Store();
  const ref = await test.store.put(newLabel(), memoryBody(someBytes(2 * mib)));
  const missing = { kind: "error", error: { status: 404, code: "NoSuchBucket" } } as const;
  test.fake.trouble((method) => method === "HEAD", missing, missing);
  await assert.rejects(test.store.get(ref), /HTTP 404/);
  await assertHolds(await test.store.get(ref), someBytes(2 * mib));
});

Deno.test("S3 store: a full service is a full store", async () => {
  await using test = openTestS3Store();
  test.fake.trouble(() => true, { kind: "error", error: { status: 507, code: "XMinioStorageFull" } });
  await assert.rejects(test.store.put(newLabel(), memoryBody(someBytes(10))), { code: "body_store_full" });
});

for (const code of ["InternalError", "SlowDown"]) {
  Deno.test(`S3 store: ${code} inside a 200 is understood, and the upload is finished all the same`, async () => {
    await using test = openTestS3Store();
    const isEnd = (method: string, url: URL) => method === "POST" && url.searchParams.has("uploadId");
    test.fake.trouble(isEnd, { kind: "error_in_200", code });
    const ref = await test.store.put(newLabel(), memoryBody(someBytes(9 * mib)));
    await assertHolds(await test.store.get(ref), someBytes(9 * mib));
    assert.equal(test.waits.length, 1);
  });
}

for (
  const [what, isIt] of [
    ["a part", (method: string, url: URL) => method === "PUT" && url.searchParams.get("partNumber") === "2"],
    ["the end", (method: string, url: URL) => method === "POST" && url.searchParams.has("uploadId")],
  ] as const
) {
  Deno.test(`S3 store: an upload of which ${what} is refused is taken back`, async () => {
    await using test = openTestS3Store();
    test.fake.trouble(isIt, { kind: "error", error: { status: 403, code: "AccessDenied" } });
    await assert.rejects(test.store.put(newLabel(), memoryBody(someBytes(17 * mib))), /AccessDenied/);
    assert.match(test.fake.requests.at(-1) ?? "", /^DELETE .* uploadId$/);
    assert.equal(test.fake.bucket.uploads.size, 0);
    assert.equal(test.fake.bucket.objects.size, 0);
  });
}

Deno.test("S3 store: a large body that is not what its checksum says is taken back", async () => {
  await using test = openTestS3Store();
  const lie = memoryBody(someBytes(9 * mib), memoryBody(someBytes(9 * mib, 2)).sha256);
  await assert.rejects(test.store.put(newLabel(), lie), { name: "DamagedBody" });
  assert.equal(test.fake.bucket.uploads.size, 0);
});

for (const how of ["cut", "short"] as const) {
  Deno.test(`S3 store: a large body whose connection is ${how} is taken up where it broke off`, async () => {
    await using test = openTestS3Store();
    const bytes = someBytes(3 * mib);
    const ref = await test.store.put(newLabel(), memoryBody(bytes));
    test.fake.trouble((method) => method === "GET", { kind: how }, { kind: how });
    assert.ok(
      await test.store.get(ref).then((body) => body?.bytes()).then((got) => got && equal(got, bytes)),
    );
    assert.equal(test.fake.requests.filter((line) => line.startsWith("GET")).length, 3);
  });
}

Deno.test("S3 store: a large body that breaks off again and again is not passed off as whole", async () => {
  await using test = openTestS3Store();
  const ref = await test.store.put(newLabel(), memoryBody(someBytes(3 * mib)));
  for (const [kind, wanted] of [["cut", /connection lost/], ["short", /ends \d+ bytes early/]] as const) {
    test.fake.trouble((method) => method === "GET", ...Array.from({ length: 6 }, () => ({ kind })));
    const body = await test.store.get(ref);
    await assert.rejects(async () => await body?.bytes(), wanted);
  }
});

Deno.test("S3 store: a byte that is another is noticed, in small bodies and in large ones", async () => {
  await using test = openTestS3Store();
  const small = await test.store.put(newLabel(), memoryBody(someBytes(1000)));
  const large = await test.store.put(newLabel(), memoryBody(someBytes(2 * mib)));
  test.fake.trouble((method) => method === "GET", { kind: "flip" }, { kind: "flip" });
  assert.equal(await test.store.get(small), undefined);
  const body = await test.store.get(large);
  let seen = 0;
  await assert.rejects(async () => {
    for await (const chunk of body?.stream() ?? []) seen += chunk.length;
  }, { name: "DamagedBody" });
  assert.ok(seen < 2 * mib, "the last piece was given out");
});

Deno.test("S3 store: a small body whose connection breaks is a store that is down, not a body that is gone", async () => {
  await using test = openTestS3Store();
  const ref = await test.store.put(newLabel(), memoryBody(someBytes(100_000)));
  test.fake.trouble((method) => method === "GET", { kind: "cut" });
  await assert.rejects(test.store.get(ref), { name: "S3Error" });
  await assertHolds(await test.store.get(ref), someBytes(100_000));
});

Deno.test("S3 store: a service that does not answer is given up after its time", async () => {
  await using test = openTestS3Store({ timeoutMs: 50 });
  const hang = { kind: "hang" } as const;
  test.fake.trouble(() => true, hang, hang, hang, hang, hang);
  await assert.rejects(test.store.put(newLabel(), memoryBody(someBytes(10))), /no answer in time/);
});

Deno.test("S3 store: while nobody answers each request is made once, until one is answered", async () => {
  await using test = openTestS3Store();
  let isDown = true;
  let asked = 0;
  const store = test.reopen({
    fetch: (input, init) => {
      asked++;
      return isDown ? Promise.reject(new TypeError("connection refused")) : fetch(input, init);
    },
  });
  const made: number[] = [];
  for (let time = 0; time < 3; time++) {
    await assert.rejects(store.put(newLabel(), memoryBody(someBytes(10))), /no connection/);
    made.push(asked);
  }
  assert.deepEqual(made, [5, 6, 7]);
  isDown = false;
  const ref = await store.put(newLabel(), memoryBody(someBytes(10)));
  isDown = true;
  await assert.rejects(store.get(ref), /no connection/);
  assert.equal(asked, 13);
});

Deno.test("S3 store: closing breaks off what hangs, and nothing is asked afterwards", async () => {
  await using test = openTestS3Store();
  const asked = Promise.withResolvers<void>();
  const store = test.reopen({
    fetch: (input, init) => {
      asked.resolve();
      return fetch(input, init);
    },
  });
  test.fake.trouble(() => true, { kind: "hang" });
  const putting = store.put(newLabel(), memoryBody(someBytes(10)));
  await asked.promise;
  await store[Symbol.asyncDispose]();
  await assert.rejects(putting, { name: "S3Error" });
  await assert.rejects(store.put(newLabel(), memoryBody(someBytes(10))), /the store is closed/);
});

for (const minutes of [-300, 20]) {
  Deno.test(`S3 store: a clock that is ${minutes} minutes off is put right by the service's`, async () => {
    await using test = openTestS3Store();
    test.fake.now = () => new Date(Date.now() + minutes * 60_000);
    test.fake.bucket.now = test.fake.now;
    const ref = await test.store.put(newLabel(), memoryBody(someBytes(10)));
    assert.equal(test.fake.requests.length, 2);
    await assertHolds(await test.store.get(ref), someBytes(10));
    const other = test.reopen();
    await other.checkThere(); // by an answer that has no body
    assert.deepEqual(test.waits, []);
  });
}

Deno.test("S3 store: a bucket in another region is followed there, by its name in the host", async () => {
  await using test = openTestS3Store();
  test.fake.region = "eu-west-3";
  const place = {
    bucket: fakeBucket,
    prefix: "",
    endpoint: "",
    region: "us-east-1",
    addressing: "auto",
  } as const;
  for (const first of ["put", "checkThere"]) {
    const store = test.reopen({ place, fetch: test.fake.fetch });
    if (first === "checkThere") await store.checkThere();
    const ref = await store.put(newLabel(), memoryBody(someBytes(10)));
    await assertHolds(await store.get(ref), someBytes(10));
  }
});

Deno.test("S3 store: a region that is only another in the signature is taken over too", async () => {
  await using test = openTestS3Store();
  test.fake.region = "eu-central-1";
  const ref = await test.store.put(newLabel(), memoryBody(someBytes(10)));
  assert.equal(test.fake.requests.length, 2);
  await assertHolds(await test.store.get(ref), someBytes(10));
});

Deno.test("S3 store: a redirect to somebody else's host is not followed", async () => {
  await using test = openTestS3Store();
  const asked: string[] = [];
  const place = {
    bucket: fakeBucket,
    prefix: "",
    endpoint: "",
    region: "us-east-1",
    addressing: "auto",
  } as const;
  for (
    const location of [
      "https://evil.example/x",
      "https://s3.eu-west-1.amazonaws.com.evil.example/x",
      "http://169.254.169.254/",
    ]
  ) {
    const store = test.reopen({
      place,
      fetch: (input) => {
        asked.push(String(input));
        return Promise.resolve(new Response(null, { status: 307, headers: { location } }));
      },
    });
    await assert.rejects(store.put(newLabel(), memoryBody(someBytes(10))), /HTTP 307/);
  }
  assert.equal(asked.length, 3);
  assert.ok(asked.every((url) => url.startsWith(`https://${fakeBucket}.s3.us-east-1.amazonaws.com/`)));
});

Deno.test("S3 store: old credentials are given back, and the next are used", async () => {
  await using test = openTestS3Store();
  test.fake.keys.set("AKIDNEW", { secret: "new", token: "session" });
  test.fake.keys.delete(fakeKeys.accessKeyId);
  const rejected: string[] = [];
  const credentials = {
    resolve: () =>
      Promise.resolve(
        rejected.length === 0
          ? fakeKeys
          : { accessKeyId: "AKIDNEW", secretAccessKey: "new", sessionToken: "session" },
      ),
    reject: (used: { accessKeyId: string }) => void rejected.push(used.accessKeyId),
  };
  const store = test.reopen({ credentials });
  const ref = await store.put(newLabel(), memoryBody(someBytes(10)));
  assert.deepEqual(rejected, [fakeKeys.accessKeyId]);
  await assertHolds(await store.get(ref), someBytes(10));
  const wrong = test.reopen({ credentials: fixedCredentials({ ...fakeKeys, accessKeyId: "AKIDNEW" }) });
  await assert.rejects(wrong.get(ref), /InvalidToken/);
});

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
