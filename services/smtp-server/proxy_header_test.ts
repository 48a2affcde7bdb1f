import assert from "node:assert/strict";
import { parseProxyHeader } from "./proxy_header.ts";

function text(line: string): Uint8Array {
  return new TextEncoder().encode(line);
}

const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

function v2(command: number, family: number, addresses: readonly number[]): Uint8Array {
  return Uint8Array.from([
    ...signature,
    0x20 | command,
    family,
    addresses.length >> 8,
    addresses.length & 255,
    ...addresses,
  ]);
}

const ipv4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x30, 0x39, 0x02, 0x4b];
const ipv6 = [
  0x20,
  0x01,
  0x0d,
  0xb8,
  ...new Array<number>(11).fill(0),
  1,
  ...new Array<number>(16).fill(0),
  0x30,
  0x39,
  0,
  25,
];

Deno.test("parseProxyHeader() reads version 1", () => {
  const header = text("PROXY TCP4 192.0.2.1 198.51.100.1 12345 587\r\nEHLO");
  assert.deepEqual(parseProxyHeader(header), {
    kind: "header",
    length: header.length - 4,
    source: { address: "192.0.2.1", port: 12345 },
  });
  assert.deepEqual(parseProxyHeader(text("PROXY TCP6 2001:db8::1 ::1 1 2\r\n")), {
    kind: "header",
    length: 32,
    source: { address: "2001:db8::1", port: 1 },
  });
  assert.deepEqual(parseProxyHeader(text("PROXY UNKNOWN whatever\r\n")), { kind: "header", length: 24 });
});

Deno.test("parseProxyHeader() reads version 2, additions included", () => {
  assert.deepEqual(parseProxyHeader(v2(1, 0x11, ipv4)), {
    kind: "header",
    length: 28,
    source: { address: "192.0.2.1", port: 12345 },
  });
  assert.deepEqual(parseProxyHeader(v2(1, 0x21, ipv6)), {
    kind: "header",
    length: 52,
    source: { address: "2001:db8:0:0:0:0:0:1", port: 12345 },
  });
  const additions = [...ipv4, 0x04, 0, 2, 1, 1];
  assert.equal((parseProxyHeader(v2(1, 0x11, additions)) as { length: number }).length, 33);
  assert.deepEqual(parseProxyHeader(v2(0, 0, [])), { kind: "header", length: 16 });
  assert.deepEqual(parseProxyHeader(v2(1, 0x31, [1, 2])), { kind: "header", length: 18 });
});

Deno.test("parseProxyHeader() waits for the rest at every cut", () => {
  const headers = [
    v2(1, 0x11, ipv4),
    v2(1, 0x21, ipv6),
    text("PROXY TCP4 192.0.2.1 198.51.100.1 12345 587\r\n"),
  ];
  for (const header of headers) {
    for (let length = 0; length < header.length; length++) {
      assert.equal(parseProxyHeader(header.subarray(0, length)).kind, "incomplete", `${length}`);
    }
    assert.equal(parseProxyHeader(header).kind, "header");
  }
});

Deno.test("parseProxyHeader() refuses everything else", () => {
  const bad = [
    text("EHLO x\r\n"),
    text("PROXY TCP4 192.0.2.1 198.51.100.1 12345\r\n"),
    text("PROXY TCP4 2001:db8::1 ::1 1 2\r\n"),
    text("PROXY TCP6 192.0.2.1 192.0.2.1 1 2\r\n"),
    text("PROXY TCP4 192.0.2.1 198.51.100.1 99999 587\r\n"),
    text("PROXY TCP4 a.b.c.d 198.51.100.1 1 587\r\n"),
    text(`PROXY ${"x".repeat(200)}`),
    v2(2, 0x11, ipv4),
    v2(1, 0x11, ipv4.slice(0, 8)),
    v2(1, 0x21, ipv4),
    Uint8Array.from([...signature, 0x11, 0x11, 0, 12, ...ipv4]),
    Uint8Array.from([...signature, 0x21, 0x11, 0xff, 0xff]),
  ];
  for (const bytes of bad) {
    assert.equal(parseProxyHeader(bytes).kind, "invalid", new TextDecoder().decode(bytes));
  }
});
