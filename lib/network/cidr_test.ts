import assert from "node:assert/strict";
import { addressKey, cidrContains, normalAddress, parseAddress, parseCidr } from "./cidr.ts";

function contains(network: string, address: string): boolean {
  const cidr = parseCidr(network);
  assert.ok(cidr, network);
  return cidrContains(cidr, address);
}

Deno.test("parseAddress() reads both families and refuses what some readers take for something else", () => {
  assert.deepEqual(parseAddress("192.0.2.1"), { family: 4, bytes: [192, 0, 2, 1] });
  assert.equal(parseAddress("2001:db8::1")?.bytes.length, 16);
  assert.equal(parseAddress("::")?.family, 6);
  const none = [
    "",
    "1.2.3",
    "01.2.3.4",
    "256.1.1.1",
    "1.2.3.4.5",
    "0x1.2.3.4",
    ":::",
    "1:2:3:4:5:6:7",
    "1::2::3",
  ];
  for (
    const text of [...none, "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::", "1.2.3.4::", "fe80::1%eth0"]
  ) {
    assert.equal(parseAddress(text), undefined, text);
  }
});

Deno.test("parseAddress() reads an IPv4-mapped address as the IPv4 address", () => {
  assert.deepEqual(parseAddress("::ffff:192.0.2.1"), parseAddress("192.0.2.1"));
  assert.deepEqual(parseAddress("::FFFF:c000:0201"), parseAddress("192.0.2.1"));
});

Deno.test("cidrContains() compares the leading bits only", () => {
  assert.equal(contains("10.0.0.0/8", "10.255.0.1"), true);
  assert.equal(contains("10.0.0.0/8", "11.0.0.1"), false);
  assert.equal(contains("192.0.2.128/25", "192.0.2.127"), false);
  assert.equal(contains("192.0.2.77/25", "192.0.2.1"), true);
  assert.equal(contains("0.0.0.0/0", "203.0.113.9"), true);
  assert.equal(contains("192.0.2.1", "192.0.2.1"), true);
  assert.equal(contains("192.0.2.1", "192.0.2.2"), false);
  assert.equal(contains("2001:db8::/33", "2001:db8:7fff::1"), true);
  assert.equal(contains("2001:db8::/33", "2001:db8:8000::1"), false);
});

Deno.test("cidrContains() keeps the families apart, mapped addresses being IPv4", () => {
  assert.equal(contains("10.0.0.0/8", "::ffff:10.1.2.3"), true);
  assert.equal(contains("::ffff:10.0.0.0/104", "10.1.2.3"), true);
  assert.equal(contains("::/0", "10.1.2.3"), false);
  assert.equal(contains("0.0.0.0/0", "2001:db8::1"), false);
  assert.equal(contains("10.0.0.0/8", "not an address"), false);
});

Deno.test("parseCidr() refuses prefixes that do not fit", () => {
  for (
    const text of [
      "10.0.0.0/33",
      "::/129",
      "10.0.0.0/",
      "10.0.0.0/-1",
      "10.0.0.0/08",
      "::ffff:1.2.3.4/95",
      "/8",
    ]
  ) {
    assert.equal(parseCidr(text), undefined, text);
  }
});

Deno.test("addressKey() gives an IPv6 client its /64 and an IPv4 client its address", () => {
  assert.equal(addressKey("2001:db8:1:2:3:4:5:6"), addressKey("2001:db8:1:2::9"));
  assert.notEqual(addressKey("2001:db8:1:2::"), addressKey("2001:db8:1:3::"));
  assert.equal(addressKey("::ffff:192.0.2.1"), "192.0.2.1");
  assert.equal(addressKey("fe80::1%eth0"), addressKey("fe80::2"));
});

Deno.test("normalAddress() writes one address in one way", () => {
  assert.equal(normalAddress("2001:0DB8:0:0:1:0:0:0"), "2001:db8:0:0:1::");
  assert.equal(normalAddress("0:0:0:0:0:0:0:1"), "::1");
  assert.equal(normalAddress("::"), "::");
  assert.equal(normalAddress("1:0:2:0:3:0:4:0"), "1:0:2:0:3:0:4:0");
  assert.equal(normalAddress("::ffff:127.0.0.1"), "127.0.0.1");
});
