import assert from "node:assert/strict";
import { parseAddress } from "./redis_connection.ts";

Deno.test("parseAddress() takes host and port, a host alone, and IPv6 in brackets", () => {
  assert.deepEqual(parseAddress("redis:6380"), { host: "redis", port: 6380 });
  assert.deepEqual(parseAddress("10.0.0.1"), { host: "10.0.0.1", port: 6379 });
  assert.deepEqual(parseAddress("[::1]:7000"), { host: "::1", port: 7000 });
});

Deno.test("parseAddress() refuses what is no address", () => {
  for (const address of ["", "redis://x", "a b:1", "host:0", "host:70000", "host:x", "::1"]) {
    assert.throws(() => parseAddress(address), /Cannot use the Redis address/, address);
  }
});
