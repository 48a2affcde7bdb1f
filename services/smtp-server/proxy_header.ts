import { parseAddress } from "../../lib/network/cidr.ts";

/** What the bytes at the start of a proxied connection are; the PROXY protocol, versions 1 and 2. */
export type ProxyHeader =
  | { readonly kind: "incomplete" }
  | { readonly kind: "invalid"; readonly reason: string }
  /** `source` is absent when the proxy speaks for itself (LOCAL, UNKNOWN, a family other than IP). */
  | { readonly kind: "header"; readonly length: number; readonly source?: ProxySource };

/** The client's own address and port. */
export interface ProxySource {
  readonly address: string;
  readonly port: number;
}

const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/** Version 1: at most 107 bytes with its CR LF. Version 2: 16 bytes, addresses, and room for its additions. */
const longestV1 = 107;
const longestV2 = 16 + 2048;

/** Reads a PROXY header from the first bytes of a connection; it must only be asked about trusted proxies. */
export function parseProxyHeader(bytes: Uint8Array): ProxyHeader {
  const known = Math.min(bytes.length, signature.length);
  for (let at = 0; at < known; at++) {
    if (bytes[at] !== signature[at]) return parseV1(bytes);
  }
  return bytes.length < 16 ? incomplete : parseV2(bytes);
}
const incomplete: ProxyHeader = { kind: "incomplete" };

function invalid(reason: string): ProxyHeader {
  return { kind: "invalid", reason };
}

function parseV1(bytes: Uint8Array): ProxyHeader {
  const text = String.fromCharCode(...bytes.subarray(0, longestV1));
  if (!text.startsWith("PROXY ".slice(0, text.length))) return invalid("no PROXY header");
  const end = text.indexOf("\r\n");
  if (end < 0) return bytes.length >= longestV1 ? invalid("PROXY header too long") : incomplete;
  const length = end + 2;
  const parts = text.slice(0, end).split(" ");
  if (parts[1] === "UNKNOWN") return { kind: "header", length };
  const [, family, address = "", , sourcePort = ""] = parts;
  const isRight = parts.length === 6 &&
    (family === "TCP4" ? isIpv4(address) : family === "TCP6" && isIpv6(address));
  const port = parsePort(sourcePort);
  if (!isRight || port === undefined || parsePort(parts[5] ?? "") === undefined) {
    return invalid("bad PROXY header");
  }
  return { kind: "header", length, source: { address, port } };
}

function parseV2(bytes: Uint8Array): ProxyHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint8(12) >> 4;
  const command = view.getUint8(12) & 0x0f;
  const family = view.getUint8(13);
  const length = 16 + view.getUint16(14);
  if (version !== 2 || command > 1) return invalid("bad version or command in PROXY header");
  if (length > longestV2) return invalid("PROXY header too long");
  if (bytes.length < length) return incomplete;
  if (command === 0) return { kind: "header", length };
  if (family === 0x11) {
    if (length < 28) return invalid("PROXY header too short for IPv4");
    return {
      kind: "header",
      length,
      source: { address: bytes.subarray(16, 20).join("."), port: view.getUint16(24) },
    };
  }
  if (family === 0x21) {
    if (length < 52) return invalid("PROXY header too short for IPv6");
    const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(16 + 2 * index).toString(16));
    return { kind: "header", length, source: { address: groups.join(":"), port: view.getUint16(48) } };
  }
  return { kind: "header", length };
}

function isIpv4(text: string): boolean {
  return !text.includes(":") && parseAddress(text) !== undefined;
}

function isIpv6(text: string): boolean {
  return text.includes(":") && parseAddress(text) !== undefined;
}

function parsePort(text: string): number | undefined {
  const port = /^(0|[1-9]\d{0,4})$/.test(text) ? Number(text) : NaN;
  return port <= 65535 ? port : undefined;
}
