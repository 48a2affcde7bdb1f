import assert from "node:assert/strict";
import { parcelOf } from "../../tests/support/parcels.ts";
import type { EspIo } from "./esp.ts";
import { ses } from "./ses.ts";

const keys = { "access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret" };

/** The requests that one delivery makes, and the endpoints that were checked. */
async function askedFor(settings: Record<string, unknown>) {
  const asked: Request[] = [];
  const checked: string[] = [];
  const io: EspIo = {
    fetch: ((request: Request) => {
      asked.push(request);
      return Promise.resolve(Response.json({ MessageId: "0102-1" }));
    }) as typeof fetch,
    now: () => new Date("2026-01-02T03:04:05Z"),
    guard: (host) => Promise.resolve({ address: host }),
    guardEndpoint: (url) => Promise.resolve(void checked.push(url.href)),
    callTimeoutMs: 1000,
    answerTimeoutMs: 0,
    print: () => {},
    showText: false,
  };
  await using esp = ses.open(ses.settings.parse({ ...keys, ...settings }), io);
  const report = await esp.deliver(parcelOf(["b@example.org"]), new AbortController().signal);
  assert.deepEqual([...report.recipients.values()], [{ kind: "accepted" }]);
  return { asked, checked };
}

Deno.test("ses calls its region's endpoint over TLS, signed for that region and the service `ses`", async () => {
  const places = [
    ["eu-west-1", "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails"],
    ["us-gov-west-1", "https://email.us-gov-west-1.amazonaws.com/v2/email/outbound-emails"],
    ["cn-north-1", "https://email.cn-north-1.amazonaws.com.cn/v2/email/outbound-emails"],
  ] as const;
  for (const [region, expected] of places) {
    const { asked: [request, ...more], checked } = await askedFor({ region });
    assert.equal(more.length, 0);
    assert.equal(request?.url, expected);
    assert.equal(request?.method, "POST");
    assert.equal(request?.redirect, "manual");
    assert.match(
      request?.headers.get("authorization") ?? "",
      new RegExp(`Credential=AKIDEXAMPLE/20260102/${region}/ses/aws4_request`),
    );
    assert.deepEqual(checked, [], "only a tenant's endpoint is checked");
  }
});

Deno.test("ses calls an endpoint of one's own below its path, after it was checked", async () => {
  for (const endpoint of ["https://proxy.example/aws", "https://proxy.example/aws/"]) {
    const { asked: [request], checked } = await askedFor({ region: "eu-west-1", endpoint });
    assert.equal(request?.url, "https://proxy.example/aws/v2/email/outbound-emails");
    assert.deepEqual(checked, ["https://proxy.example/aws/v2/email/outbound-emails"]);
  }
});
