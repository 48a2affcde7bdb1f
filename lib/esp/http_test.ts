import assert from "node:assert/strict";
import { callHttp } from "./http.ts";
import type { HttpIo, HttpResult } from "./http.ts";

const url = new URL("https://api.example.com/v3/mail");
const { signal } = new AbortController();

function io(fetch: (request: Request) => Promise<Response>, times: Partial<HttpIo> = {}): HttpIo {
  return { callTimeoutMs: 10_000, answerTimeoutMs: 0, fetch: (input) => fetch(input as Request), ...times };
}

function answering(response: Response): HttpIo {
  return io(() => Promise.resolve(response));
}

function failing(
  message: string,
  error: Error = new TypeError("fetch failed", { cause: new Error(message) }),
) {
  return io(() => Promise.reject(error));
}

async function call(world: HttpIo, until = signal): Promise<HttpResult> {
  return await callHttp(world, { url, headers: {}, body: "{}" }, until);
}

function ended(result: HttpResult): string {
  return result.kind === "answered" ? String(result.status) : `${result.kind} ${result.code}`;
}

Deno.test("callHttp() answers status, headers, text and what the text is as JSON", async () => {
  const result = await call(answering(
    new Response('{"a":[1]}', { status: 202, headers: { "X-Message-Id": "abc" } }),
  ));
  assert.ok(result.kind === "answered");
  assert.equal(result.status, 202);
  assert.equal(result.headers.get("x-message-id"), "abc");
  assert.equal(result.text, '{"a":[1]}');
  assert.deepEqual(result.json, { a: [1] });
  assert.equal(result.isComplete, true);
});

Deno.test("callHttp() takes HTML, cut JSON and an empty body for what they are", async () => {
  for (const text of ["<html>{}</html>", '{"a":', "", "queued"]) {
    const result = await call(answering(new Response(text)));
    assert.ok(result.kind === "answered");
    assert.equal(result.text, text);
    assert.equal(result.json, undefined);
  }
});

Deno.test("callHttp() sends a stream, so that nothing below repeats it, and follows no redirect", async () => {
  let seen: Request | undefined;
  await callHttp(
    io((request) => {
      seen = request;
      return Promise.resolve(
        new Response(null, { status: 307, headers: { location: "https://evil.example/" } }),
      );
    }),
    { url, method: "PUT", headers: { authorization: "Bearer x" }, body: new Uint8Array([65]) },
    signal,
  );
  assert.equal(seen?.redirect, "manual");
  assert.equal(seen?.method, "PUT");
  assert.ok(seen?.body instanceof ReadableStream);
  assert.equal(await seen?.text(), "A");
});

Deno.test("callHttp() reads at most 256 KiB of an answer", async () => {
  let pulled = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled++;
      controller.enqueue(new Uint8Array(65_536).fill(65));
    },
  });
  const result = await call(answering(new Response(endless)));
  assert.ok(result.kind === "answered");
  assert.equal(result.text.length, 256 * 1024);
  assert.equal(result.isComplete, false);
  assert.ok(pulled < 8);
});

Deno.test("callHttp() keeps the status of an answer whose body breaks off", async () => {
  const broken = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode('{"id":"1"')),
    pull: (controller) => controller.error(new TypeError("error reading a body from connection")),
  });
  const result = await call(answering(new Response(broken, { status: 200 })));
  assert.ok(result.kind === "answered");
  assert.equal(result.isComplete, false);
  assert.equal(result.json, undefined);
});

Deno.test("callHttp() tells what was not sent from what was not answered", async () => {
  const cases: readonly (readonly [string, string])[] = [
    [
      "client error (Connect): tcp connect error: Connection refused (os error 111)",
      "not_sent connection_failed",
    ],
    ["client error (Connect): dns error: failed to lookup address information", "not_sent dns_failed"],
    ["client error (Connect): invalid peer certificate: UnknownIssuer", "not_sent tls_failed"],
    ["client error (Connect): tls handshake eof", "not_sent tls_failed"],
    ["client error (SendRequest): connection closed before message completed", "no_answer connection_lost"],
    ["client error (SendRequest): connection error: Connection reset by peer", "no_answer connection_lost"],
    ["client error (SendRequest): invalid HTTP version parsed", "no_answer protocol_error"],
    ["something new", "no_answer connection_lost"],
  ];
  for (const [message, expected] of cases) {
    assert.equal(ended(await call(failing(message))), expected, message);
  }
});

Deno.test("callHttp() sends nothing when it was ended before, or when a header cannot be written", async () => {
  const never = io(() => Promise.reject(new Error("Was called")));
  assert.equal(ended(await call(never, AbortSignal.abort())), "not_sent aborted");
  const odd = await callHttp(never, { url, headers: { authorization: "a\nb" }, body: "{}" }, signal);
  assert.equal(ended(odd), "not_sent request_invalid");
});

Deno.test("callHttp() knows nothing of a request that was ended or took too long", async () => {
  const hanging = (times: Partial<HttpIo>) =>
    io((request) =>
      new Promise((_, reject) => {
        request.signal.addEventListener("abort", () => reject(request.signal.reason));
      }), times);
  assert.equal(ended(await call(hanging({ callTimeoutMs: 5 }))), "no_answer timeout");
  const controller = new AbortController();
  const pending = call(hanging({}), controller.signal);
  controller.abort();
  assert.equal(ended(await pending), "no_answer aborted");
});

Deno.test("callHttp() waits longer for the answer that decides whether mail was sent", async () => {
  let isAsked = false;
  const slow = (sendsMail: boolean) =>
    callHttp(
      io((request) =>
        new Promise((resolve, reject) => {
          isAsked = true;
          request.signal.addEventListener("abort", () => reject(request.signal.reason));
          setTimeout(() => resolve(new Response(null, { status: 202 })), 30);
        }), { callTimeoutMs: 10, answerTimeoutMs: 600_000 }),
      { url, headers: {}, body: "{}", sendsMail },
      signal,
    );
  assert.equal(ended(await slow(true)), "202");
  assert.equal(isAsked, true);
});

Deno.test("callHttp() frees the bytes it is given for good, and no others", async () => {
  for (const givesBodyAway of [false, true]) {
    const body = new Uint8Array(1000).fill(65);
    let sent = "";
    const world = io(async (request) => {
      sent = await request.text();
      return new Response(null, { status: 202 });
    });
    assert.equal(ended(await callHttp(world, { url, headers: {}, body, givesBodyAway }, signal)), "202");
    assert.equal(sent, "A".repeat(1000));
    assert.equal(body.length, givesBodyAway ? 0 : 1000);
  }
});
