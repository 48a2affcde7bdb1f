import assert from "node:assert/strict";
import { parseLoadOptions, shareArguments } from "./load_options.ts";

Deno.test("parseLoadOptions() names the flag that is wrong", () => {
  assert.throws(() => parseLoadOptions(["--port", "25"]), /--total or --seconds/);
  assert.throws(
    () => parseLoadOptions(["--port", "25", "--total", "1", "--keep", "2"]),
    /--total above --keep/,
  );
  assert.throws(() => parseLoadOptions(["--port", "x", "--total", "1"]), /--port/);
  assert.throws(() => parseLoadOptions(["--port", "25", "--total", "1", "--tls", "maybe"]), /--tls/);
  assert.throws(() => parseLoadOptions(["--port", "25", "--total", "1", "--run", "short"]), /--run/);
});

Deno.test("shareArguments() splits a load into shares that add up and have ids of their own", () => {
  const whole = parseLoadOptions([
    "--port",
    "25",
    "--total",
    "101",
    "--sessions",
    "21",
    "--processes",
    "3",
    "--retry",
  ]);
  const shares = [0, 1, 2].map((index) => parseLoadOptions(shareArguments(whole, index)));
  assert.equal(shares.reduce((sum, share) => sum + share.total, 0), 101);
  assert.equal(shares.reduce((sum, share) => sum + share.sessions, 0), 21);
  assert.equal(new Set(shares.map((share) => share.run)).size, 3);
  assert.ok(shares.every((share) => share.retry && share.processes === 1));
});
