import assert from "node:assert/strict";
import { isTracing, parseTraceparent, startSpan } from "./tracing.ts";

Deno.test("startSpan() makes nothing while tracing is off", () => {
  assert.equal(isTracing, false);
  assert.equal(startSpan("accept", { attributes: { size: 1 } }), undefined);
});

Deno.test("parseTraceparent() reads the form of version 00, and takes nothing else", () => {
  assert.deepEqual(parseTraceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    traceFlags: 1,
    isRemote: true,
  });
  for (
    const wrong of [
      "",
      "00-00000000000000000000000000000000-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
      "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
    ]
  ) assert.equal(parseTraceparent(wrong), undefined, wrong);
});
