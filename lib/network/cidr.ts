/** An IP address in binary; an IPv4-mapped IPv6 address (`::ffff:1.2.3.4`) is the IPv4 address it carries. */
export interface Address {
  readonly family: 4 | 6;
  /** Four or sixteen bytes, network order. */
  readonly bytes: readonly number[];
}

/** A network: an address and how many of its leading bits count. */
export interface Cidr {
  readonly address: Address;
  readonly bits: number;
}

/** An address in text (zone identifiers and brackets are not part of it); undefined when it is none. */
export function parseAddress(text: string): Address | undefined {
  if (text.length > 45) return undefined;
  if (!text.includes(":")) {
    const bytes = parseIpv4(text);
    return bytes && { family: 4, bytes };
  }
  const bytes = parseIpv6(text);
  if (bytes === undefined) return undefined;
  return isMapped(bytes) ? { family: 4, bytes: bytes.slice(12) } : { family: 6, bytes };
}

/** `10.0.0.0/8`, `2001:db8::/32` or a single address; bits beyond the prefix are ignored; undefined when malformed. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  const width = address.bytes.length * 8;
  if (slash < 0) return { address, bits: width };
  const digits = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  // A mapped network's prefix counts from the IPv6 address's first bit.
  const bits = Number(digits) - (address.family === 4 && text.includes(":") ? 96 : 0);
  return bits < 0 || bits > width ? undefined : { address, bits };
}

/** Whether a network contains an address, both in either family; false for what is no address. */
export function cidrContains(network: Cidr, address: string): boolean {
  const candidate = parseAddress(address);
  if (candidate === undefined || candidate.family !== network.address.family) return false;
  for (let bit = 0; bit < network.bits; bit += 8) {
    const shift = Math.max(0, 8 - (network.bits - bit));
    const differing = byteAt(candidate, bit / 8) ^ byteAt(network.address, bit / 8);
    if (differing >> shift !== 0) return false;
  }
  return true;
}

/** What limits count as one client: an IPv4 address, or the /64 of an IPv6 address; other text as it is. */
export function addressKey(address: string): string {
  const parsed = parseAddress(withoutZone(address));
  if (parsed === undefined) return address;
  return parsed.family === 4 ? parsed.bytes.join(".") : `${groups(parsed.bytes.slice(0, 8))}::/64`;
}

/** The same address in one spelling: dotted IPv4 also where it was mapped, lower-case IPv6 without its zone. */
export function normalAddress(address: string): string {
  const bare = withoutZone(address);
  const parsed = parseAddress(bare);
  if (parsed === undefined) return address;
  return parsed.family === 4 ? parsed.bytes.join(".") : compressed(parsed.bytes);
}

function withoutZone(address: string): string {
  const zone = address.indexOf("%");
  return zone < 0 ? address : address.slice(0, zone);
}

function byteAt(address: Address, index: number): number {
  return address.bytes[index] ?? 0;
}

function parseIpv4(text: string): readonly number[] | undefined {
  const parts = text.split(".");
  // Leading zeros are refused: some readers take them for octal.
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part))) return undefined;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

function parseIpv6(text: string): readonly number[] | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return [...head, ...new Array<number>(missing).fill(0), ...tail];
}

function parseGroups(text: string, isEnd: boolean): readonly number[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const bytes: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (part.includes(".")) {
      const embedded = isEnd && index === parts.length - 1 ? parseIpv4(part) : undefined;
      if (embedded === undefined) return undefined;
      bytes.push(...embedded);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      const value = Number.parseInt(part, 16);
      bytes.push(value >> 8, value & 0xff);
    }
  }
  return bytes.length > 16 ? undefined : bytes;
}

function isMapped(bytes: readonly number[]): boolean {
  return bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
}

function groups(bytes: readonly number[]): string {
  const parts: string[] = [];
  for (let index = 0; index < bytes.length; index += 2) {
    parts.push((((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0)).toString(16));
  }
  return parts.join(":");
}

/** RFC 5952: the longest run of zero groups, of two at least, is written `::`. */
function compressed(bytes: readonly number[]): string {
  const parts = groups(bytes).split(":");
  let start = -1;
  let length = 1;
  for (let index = 0; index < parts.length; index++) {
    let end = index;
    while (parts[end] === "0") end++;
    if (end - index > length) [start, length] = [index, end - index];
    index = Math.max(index, end - 1);
  }
  if (start < 0) return parts.join(":");
  return `${parts.slice(0, start).join(":")}::${parts.slice(start + length).join(":")}`;
}
