import assert from "node:assert/strict";
import {
  bytes,
  duration,
  list,
  network,
  oneOf,
  origin,
  parseBytes,
  parseDuration,
  port,
  whole,
} from "./setting_types.ts";

Deno.test("parseDuration() understands units and sums of them, and nothing else", () => {
  const right = {
    "0": 0,
    "500ms": 500,
    "30s": 30_000,
    "15m": 900_000,
    "168h": 604_800_000,
    "7d": 604_800_000,
  };
  for (const [text, ms] of Object.entries({ ...right, "1h30m": 5_400_000, "1.5s": 1500 })) {
    assert.equal(parseDuration(text), ms, text);
  }
  for (const text of ["", "30", "s", "-1s", "1 s", "1y", "1s2", "∞"]) {
    assert.equal(parseDuration(text), undefined, text);
  }
});

Deno.test("parseBytes() tells powers of 1000 from powers of 1024", () => {
  const right = {
    "26214400": 26_214_400,
    "25MB": 25_000_000,
    "64MiB": 67_108_864,
    "1k": 1000,
    "1 KiB": 1024,
    "0": 0,
  };
  for (const [text, size] of Object.entries(right)) assert.equal(parseBytes(text), size, text);
  for (const text of ["", "MB", "1.5MB", "-1", "1iB", "1PB"]) assert.equal(parseBytes(text), undefined, text);
});

Deno.test("network takes addresses and networks of both families", () => {
  for (const right of ["10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8", "::ffff:10.0.0.1", "0.0.0.0/0"]) {
    assert.equal(network.parse(right), right);
  }
  for (
    const wrong of [
      "",
      "10.0.0",
      "10.0.0.256",
      "10.0.0.0/33",
      "::/129",
      "10.0.0.0/8/8",
      "example.com",
      "01.2.3.4",
    ]
  ) {
    assert.equal(network.safeParse(wrong).success, false, wrong);
  }
});

Deno.test("list() reads sequences and texts with commas, within its limits", () => {
  const delays = list(duration("0", "1h"), 1, 3);
  assert.deepEqual(delays.parse("30s, 1m"), [30_000, 60_000]);
  assert.deepEqual(delays.parse(["30s", 0]), [30_000, 0]);
  for (const wrong of ["", [], "1s,1s,1s,1s", "1s,x", 7, { a: 1 }]) {
    assert.equal(delays.safeParse(wrong).success, false, JSON.stringify(wrong));
  }
});

Deno.test("whole(), port, bytes() and oneOf() refuse what lies outside", () => {
  assert.equal(port.parse("587"), 587);
  for (const wrong of ["65536", "-1", "1.5", "", "0x10", true, null, []]) {
    assert.equal(port.safeParse(wrong).success, false, JSON.stringify(wrong));
  }
  assert.equal(whole(1, 9).safeParse(10).success, false);
  assert.equal(bytes("1KiB", "1MiB").safeParse("2MiB").success, false);
  assert.equal(oneOf("wait", "stdout").parse("WAIT"), "wait");
  assert.equal(oneOf("wait", "stdout").safeParse("").success, false);
});

Deno.test("origin takes what a URL's origin is, and nothing that has more", () => {
  const right = {
    "https://mail.example.com:8443": "https://mail.example.com:8443",
    "HTTP://Mail.example.com/": "http://mail.example.com",
    "http://127.0.0.1:9": "http://127.0.0.1:9",
  };
  for (const [text, expected] of Object.entries(right)) assert.equal(origin.parse(text), expected);
  for (const text of ["", "mail", "ftp://a", "https://a/b", "https://a:443x", "https://u@a", "https://a?b"]) {
    assert.equal(origin.safeParse(text).success, false, text);
  }
});
