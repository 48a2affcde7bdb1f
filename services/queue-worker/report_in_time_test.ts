import assert from "node:assert/strict";
import { reportInTime } from "./report_in_time.ts";

const longMs = 60_000;

/** Resolves when the signal is aborted, with what for. */
function aborted(signal: AbortSignal): Promise<unknown> {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  signal.addEventListener("abort", () => resolve(signal.reason), { once: true });
  return promise;
}

Deno.test("reportInTime() gives up on a report that is late, and aborts whatever was to bring it", async () => {
  const { signal } = new AbortController();
  const reasons: Promise<unknown>[] = [];
  const sent: string[] = [];
  const begun = Promise.withResolvers<void>();
  const late = reportInTime(1, signal, async (own) => {
    reasons.push(aborted(own));
    await begun.promise;
    if (!own.aborted) sent.push("too late");
    return "report";
  });
  await assert.rejects(late, /^Error: No report after 1 ms$/);
  assert.match(String(await reasons[0]), /No report after 1 ms/);
  begun.resolve();
  await begun.promise;
  assert.deepEqual(sent, []);
});

Deno.test("reportInTime() says that it is lost, not what the aborted work says of it", async () => {
  const { signal } = new AbortController();
  const late = reportInTime(1, signal, async (own) => {
    await aborted(own);
    return "not sent";
  });
  await assert.rejects(late, /No report/);
});

Deno.test("reportInTime() passes a report and an error on, and aborts nothing of a call that has reported", async () => {
  const { signal } = new AbortController();
  const seen: AbortSignal[] = [];
  assert.equal(
    await reportInTime(longMs, signal, (own) => {
      seen.push(own);
      return Promise.resolve("report");
    }),
    "report",
  );
  assert.equal(seen[0]?.aborted, false);
  const fault = new TypeError("broken");
  await assert.rejects(reportInTime(longMs, signal, () => Promise.reject(fault)), fault);
});

Deno.test("reportInTime() passes the abort of its own signal on, and waits for the report of that", async () => {
  const outer = new AbortController();
  const report = reportInTime(longMs, outer.signal, async (own) => String(await aborted(own)));
  outer.abort("stopped");
  assert.equal(await report, "stopped");
});
