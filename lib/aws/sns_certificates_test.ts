import assert from "node:assert/strict";
import { SnsCertificates } from "./sns_certificates.ts";

const url = new URL("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem");

function certificates(answer: () => Response | Promise<Response>) {
  const seen: { count: number; redirect?: RequestRedirect | undefined } = { count: 0 };
  let now = 1_700_000_000_000;
  const certificates = new SnsCertificates({
    now: () => new Date(now),
    fetch: async (_url, init) => {
      seen.count++;
      seen.redirect = init?.redirect;
      return await answer();
    },
  });
  return { certificates, seen, pass: (ms: number) => now += ms };
}

Deno.test("SnsCertificates.key() answers nothing for what is no certificate, and asks again after a minute", async () => {
  const answers: readonly (() => Response | Promise<Response>)[] = [
    () => new Response("no certificate"),
    () => new Response("-".repeat(100_000)),
    () => new Response(null, { status: 404 }),
  ];
  for (const answer of answers) {
    const { certificates: made, seen, pass } = certificates(answer);
    assert.equal(await made.key(url), undefined);
    assert.equal(await made.key(url), undefined);
    assert.deepEqual([seen.count, seen.redirect], [1, "error"]);
    pass(60_001);
    await made.key(url);
    assert.equal(seen.count, 2);
  }
});

Deno.test("SnsCertificates.key() fetches one URL once at a time, and four at most", async () => {
  const gate = Promise.withResolvers<Response>();
  const { certificates: made, seen } = certificates(() => gate.promise.then((response) => response.clone()));
  const asked = [url, url, ...[1, 2, 3].map((n) => new URL(`?${n}`, url))].map((one) => made.key(one));
  await assert.rejects(made.key(new URL("?4", url)), { code: "certificate_unavailable" });
  assert.equal(seen.count, 4);
  gate.resolve(new Response("none"));
  assert.deepEqual(await Promise.all(asked), asked.map(() => undefined));
});

Deno.test("SnsCertificates.key() throws while SNS cannot be asked, and asks again at once", async () => {
  for (
    const answer of [
      () => Promise.reject(new TypeError("fetch failed")),
      () => new Response("", { status: 503 }),
    ]
  ) {
    const { certificates: made, seen } = certificates(answer);
    for (const count of [1, 2]) {
      await assert.rejects(made.key(url), { code: "certificate_unavailable" });
      assert.equal(seen.count, count);
    }
  }
});
