import assert from "node:assert/strict";
import { parcelOf } from "../../tests/support/parcels.ts";
import type { RecipientId } from "../ids.ts";
import type { EspIo } from "./esp.ts";
import { msgraph } from "./msgraph.ts";

const { signal } = new AbortController();

/** A world that answers each request as told, and the URLs that were asked. */
function worldOf(answer: (url: URL, body: string) => Response) {
  const asked: string[] = [];
  const world: EspIo = {
    fetch: async (request) => {
      if (!(request instanceof Request)) throw new Error("A request is wanted");
      const url = new URL(request.url);
      asked.push(`${request.method} ${url.origin}${url.pathname}`);
      return answer(url, await request.text());
    },
    now: () => new Date(),
    guard: () => Promise.reject(new Error("Nothing is guarded here")),
    guardEndpoint: () => Promise.reject(new Error("Nothing is guarded here")),
    callTimeoutMs: 1000,
    answerTimeoutMs: 1000,
    print: () => {},
    showText: false,
  };
  return { world, asked };
}

const settings = {
  "tenant_id": "t.example.com",
  "client_id": "c",
  "client_secret": "s",
  "user_id": "a@example.com",
};
const token = { "token_type": "Bearer", "expires_in": 3599, "access_token": "t" };

Deno.test("msgraph asks the hosts of its cloud, each for a token of that cloud", async () => {
  const hosts = {
    global: ["login.microsoftonline.com", "graph.microsoft.com"],
    usgov: ["login.microsoftonline.us", "graph.microsoft.us"],
    dod: ["login.microsoftonline.us", "dod-graph.microsoft.us"],
    china: ["login.chinacloudapi.cn", "microsoftgraph.chinacloudapi.cn"],
  } as const;
  for (const [cloud, [login, graph]] of Object.entries(hosts)) {
    let scope: string | null = null;
    const { world, asked } = worldOf((url, body) => {
      if (url.host !== login) return new Response(null, { status: 202 });
      scope = new URLSearchParams(body).get("scope");
      return Response.json(token);
    });
    await using esp = msgraph.open(
      msgraph.settings.parse({ ...settings, "user_id": "a+b@example.com", cloud }),
      world,
    );
    const report = await esp.deliver(parcelOf(["b@example.org"], "Subject: x\r\n\r\nHi\r\n"), signal);
    assert.equal(report.recipients.get(1 as RecipientId)?.kind, "accepted");
    assert.deepEqual(asked, [
      `POST https://${login}/t.example.com/oauth2/v2.0/token`,
      `POST https://${graph}/v1.0/users/a%2Bb%40example.com/sendMail`,
    ]);
    assert.equal(scope, `https://${graph}/.default`);
  }
});

Deno.test("msgraph uploads to hosts of Microsoft alone, and never shows them its token", async () => {
  const file = `--m\r\nContent-Type: a/b; name=f\r\n\r\n${"x".repeat(3_000_000)}\r\n--m--\r\n`;
  const mail =
    `From: a@example.com\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nHi\r\n${file}`;
  const cases = [
    ["https://outlook.office.com/api/x?authtoken=1", "accepted"],
    ["https://outlook.office365.com/x", "accepted"],
    ["https://office.com.example.org/x", "wait"],
    ["https://notoffice.com/x", "wait"],
    ["http://outlook.office.com/x", "wait"],
    ["https://outlook.office.com:8443/x", "wait"],
    ["https://169.254.169.254/x", "wait"],
  ] as const;
  for (const [uploadUrl, kind] of cases) {
    const { world, asked } = worldOf((url) => {
      if (url.pathname.endsWith("/token")) return Response.json(token);
      if (url.pathname.endsWith("/messages")) return Response.json({ id: "d" }, { status: 201 });
      if (url.pathname.endsWith("/createUploadSession")) return Response.json({ uploadUrl }, { status: 201 });
      if (url.href === uploadUrl) return Response.json({}, { status: 201 });
      return new Response(null, { status: url.pathname.endsWith("/send") ? 202 : 204 });
    });
    const shown: string[] = [];
    const fetch: typeof world.fetch = (request) => {
      if (request instanceof Request && request.headers.has("authorization")) {
        shown.push(new URL(request.url).host);
      }
      return world.fetch(request);
    };
    await using esp = msgraph.open(msgraph.settings.parse({ ...settings, "user_id": "a@example.com" }), {
      ...world,
      fetch,
    });
    const report = await esp.deliver(parcelOf(["b@example.org"], mail), signal);
    assert.equal(report.recipients.get(1 as RecipientId)?.kind, kind, uploadUrl);
    assert.equal(asked.some((line) => line.startsWith("PUT")), kind === "accepted");
    assert.deepEqual([...new Set(shown)], ["graph.microsoft.com"]);
  }
});
