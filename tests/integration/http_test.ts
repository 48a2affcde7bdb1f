import assert from "node:assert/strict";
import { callHttp } from "../../lib/esp/http.ts";
import type { HttpIo, HttpResult } from "../../lib/esp/http.ts";
import { FaultyHttp } from "../support/faulty_http.ts";
import type { HttpFault } from "../support/faulty_http.ts";
import { HeldTime } from "../support/held_time.ts";

const { signal } = new AbortController();
const body = new Uint8Array(300_000).fill(65);

function io(times: Pick<HttpIo, "after"> = {}): HttpIo {
  return { fetch, callTimeoutMs: 60_000, answerTimeoutMs: 0, ...times };
}

async function post(
  origin: string,
  times?: Pick<HttpIo, "after">,
  content: Uint8Array = body,
): Promise<HttpResult> {
  const url = new URL("/v3/mail", origin);
  return await callHttp(io(times), { url, headers: {}, body: content }, signal);
}

function ended(result: HttpResult): string {
  if (result.kind !== "answered") return `${result.kind} ${result.code}`;
  return `${result.status}${result.isComplete ? "" : " incomplete"}`;
}

function service(): Promise<FaultyHttp> {
  return FaultyHttp.open(() => ({ status: 202, headers: { "X-Message-Id": "abc" }, body: { id: "abc" } }));
}

Deno.test("callHttp() sends a body of known length and reads the answer", async () => {
  await using http = await service();
  const result = await post(http.origin);
  assert.ok(result.kind === "answered");
  assert.equal(result.headers.get("x-message-id"), "abc");
  assert.deepEqual(result.json, { id: "abc" });
  const [request] = http.requests;
  assert.equal(request?.isChunked, false);
  assert.equal(request?.headers.get("content-length"), String(body.length));
  assert.deepEqual(request?.body.length, body.length);
});

Deno.test("callHttp() keeps connections", async () => {
  await using http = await service();
  for (let number = 0; number < 5; number++) assert.equal(ended(await post(http.origin)), "202");
  assert.equal(http.connections, 1);
});

Deno.test("callHttp() knows that nothing was sent when no connection could be made", async () => {
  await using http = await service();
  const { origin } = http;
  await http.close();
  assert.equal(ended(await post(origin)), "not_sent connection_failed");
  assert.equal(ended(await post("http://no-such-host.invalid")), "not_sent dns_failed");
  await using plain = await service();
  plain.fail({ unread: "close" });
  assert.equal(ended(await post(plain.origin.replace("http:", "https:"))), "not_sent tls_failed");
});

const inDoubt: readonly (readonly [string, HttpFault, string])[] = [
  ["a close before a byte was read", { unread: "close" }, "no_answer connection_lost"],
  ["a reset within the request", { header: "reset" }, "no_answer connection_lost"],
  ["a close within the request", { header: "close" }, "no_answer connection_lost"],
  ["a reset after the request", { read: "reset" }, "no_answer connection_lost"],
  ["a close after the request", { read: "close" }, "no_answer connection_lost"],
  ["a close within the answer's header", { answered: "close", bytes: 20 }, "no_answer connection_lost"],
  ["an answer that is no HTTP", { raw: "220 mail.example ESMTP\r\n" }, "no_answer protocol_error"],
];

for (const [name, fault, expected] of inDoubt) {
  Deno.test(`callHttp() makes the request once and is in doubt after ${name}`, async () => {
    await using http = await service();
    http.fail(fault);
    assert.equal(ended(await post(http.origin)), expected);
    assert.equal(http.connections, 1);
    assert.equal(http.unmet, 0);
  });

  Deno.test(`callHttp() makes the request once on a kept connection and is in doubt after ${name}`, async () => {
    await using http = await service();
    assert.equal(ended(await post(http.origin)), "202");
    http.fail(fault);
    assert.equal(ended(await post(http.origin)), expected);
    assert.equal(http.connections, 1);
    assert.equal(http.unmet, 0);
  });
}

Deno.test("callHttp() may or may not know that a connection was reset before it was used", async () => {
  await using http = await service();
  http.fail({ unread: "reset" });
  assert.match(ended(await post(http.origin)), /^(not_sent connection_failed|no_answer connection_lost)$/);
  assert.equal(http.requests.length, 0);
});

Deno.test("callHttp() gives up a service that hangs, wherever it does", async () => {
  for (
    const fault of [
      { unread: "hang" },
      { header: "hang" },
      { read: "hang" },
      { answered: "hang", bytes: 20 },
    ] satisfies HttpFault[]
  ) {
    await using http = await service();
    http.fail(fault);
    const time = new HeldTime();
    const pending = post(http.origin, time);
    await http.hung;
    time.end();
    assert.equal(ended(await pending), "no_answer timeout");
  }
});

Deno.test("callHttp() keeps a status whose body is slow, cut off, reset or far too long", async () => {
  const big = { status: 200, body: "x".repeat(2_000_000) };
  const head =
    "HTTP/1.1 202 Reason\r\nX-Message-Id: abc\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n";
  const cases: readonly (readonly [HttpFault, string])[] = [
    [{ answered: "close", bytes: head.length + 5 }, "202 incomplete"],
    [{ answered: "reset", bytes: head.length + 5 }, "202 incomplete"],
    [{ answered: "hang", bytes: head.length + 5 }, "202 incomplete"],
    [{ reply: big }, "200 incomplete"],
    [{ pieces: 5, everyMs: 1 }, "202"],
  ];
  for (const [fault, expected] of cases) {
    await using http = await service();
    http.fail(fault);
    const isHanging = "answered" in fault && fault.answered === "hang";
    assert.equal(
      ended(await post(http.origin, isHanging ? overWithTheStatus() : {})),
      expected,
      JSON.stringify(fault).slice(0, 80),
    );
  }
});

/** The first limit, for a status, is never over; the next one, for the body, is at once. */
function overWithTheStatus(): Required<Pick<HttpIo, "after">> {
  let isFirst = true;
  return {
    after(_ms, end) {
      const timer = isFirst ? undefined : setTimeout(end);
      isFirst = false;
      return () => clearTimeout(timer);
    },
  };
}

Deno.test("callHttp() follows no redirect", async () => {
  await using http = await service();
  for (const status of [301, 302, 303, 307, 308]) {
    http.fail({ reply: { status, headers: { location: `${http.origin}/elsewhere` } } });
    assert.equal(ended(await post(http.origin)), String(status));
  }
  assert.equal(http.requests.length, 5);
});

Deno.test("callHttp() hears a service that answers before it has read everything", async () => {
  await using http = await service();
  http.fail({ reply: { status: 413, headers: { connection: "close" } } });
  assert.equal(ended(await post(http.origin, undefined, new Uint8Array(5_000_000))), "413");
});

Deno.test("callHttp() ends when its signal does", async () => {
  await using http = await service();
  http.fail({ read: "hang" });
  const controller = new AbortController();
  const pending = callHttp(io(), { url: new URL(http.origin), headers: {}, body }, controller.signal);
  await http.read(1);
  controller.abort();
  assert.equal(ended(await pending), "no_answer aborted");
});
