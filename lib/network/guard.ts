import { lookup } from "node:dns/promises";
import { cidrContains, normalAddress, parseAddress, parseCidr } from "./cidr.ts";
import type { Cidr } from "./cidr.ts";

/** An address that lies where nobody outside may make us call; its message names the setting that allows it. */
export class AddressNotAllowed extends Error {
  override readonly name = "AddressNotAllowed";
}

/** What may be called beside the public Internet's mail ports. */
export interface GuardOptions {
  /** CIDR networks or addresses that are allowed although they are not public. */
  readonly allowedNetworks: readonly string[];
  /** Ports allowed beside 25, 465, 587 and 2525, for endpoints beside 443. */
  readonly allowedPorts: readonly number[];
  /** Whether loopback may be called, on any port. */
  readonly development: boolean;
  /** Origins of endpoints that may be called wherever they are. */
  readonly allowedOrigins?: readonly string[];
  /** All addresses of a name; the system's resolver when absent. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

/** An address that was checked; connect to it and no other. */
export interface CheckedAddress {
  readonly address: string;
  /** The name that was resolved; absent when the host was an address. */
  readonly servername?: string;
}

const mailPorts = [25, 465, 587, 2525];
const loopback = networks("127.0.0.0/8", "::1/128");
/** IPv4 that is not public: RFC 6890 and its successors. */
const reserved4 = networks(
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3",
);
/** Of IPv6 only this is public at all. */
const global6 = networks("2000::/3");
const reserved6 = networks("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20");
/** Addresses that stand for an IPv4 address, in their last four bytes (RFC 6052). */
const translated6 = network("64:ff9b::/96");

/** Resolves a host and answers one of its addresses when all of them may be called (ruling 3.14). */
export function createGuard(options: GuardOptions): (host: string, port: number) => Promise<CheckedAddress> {
  return guardFor(options, mailPorts);
}

/** Resolves when a URL's origin is allowed, or every address of its host may be called, on 443 or an allowed port. */
export function createEndpointGuard(options: GuardOptions): (url: URL) => Promise<void> {
  const guard = guardFor(options, [443]);
  const origins = new Set(options.allowedOrigins);
  return async ({ origin, protocol, hostname, port }) => {
    if (!origins.has(origin)) await guard(hostname, Number(port || (protocol === "https:" ? 443 : 80)));
  };
}

function guardFor(options: GuardOptions, usualPorts: readonly number[]) {
  const allowed = options.allowedNetworks.map(network);
  const ports = new Set([...usualPorts, ...options.allowedPorts]);
  const resolve = options.resolve ?? resolveBySystem;
  return async (host: string, port: number): Promise<CheckedAddress> => {
    const literal = literalAddress(host);
    const addresses = literal === undefined ? await resolve(host) : [literal];
    if (addresses.length === 0) throw new Error(`Cannot resolve ${host}: it has no address`);
    for (const address of addresses) {
      const isLoopback = options.development && isIn(loopback, address);
      if (!isLoopback && !isIn(allowed, address) && !isPublic(address)) {
        throw new AddressNotAllowed(
          `Cannot call ${host}: ${address} is not public and not in esp.allowed_networks`,
        );
      }
      if (!isLoopback && !ports.has(port)) {
        throw new AddressNotAllowed(`Cannot call ${host}: port ${port} is not in esp.allowed_ports`);
      }
    }
    const address = normalAddress(pick(addresses));
    return literal === undefined ? { address, servername: host } : { address };
  };
}

async function resolveBySystem(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map((found) => found.address);
}

/** Any of the IPv4 addresses, else any: many hosts have no way out by IPv6. */
function pick(addresses: readonly string[]): string {
  const preferred = addresses.filter((address) => parseAddress(address)?.family === 4);
  const candidates = preferred.length > 0 ? preferred : addresses;
  return candidates[Math.floor(Math.random() * candidates.length)] ?? "";
}

function literalAddress(host: string): string | undefined {
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  return parseAddress(bare) === undefined ? undefined : bare;
}

function isPublic(address: string): boolean {
  const parsed = parseAddress(address);
  if (parsed === undefined) return false;
  if (parsed.family === 4) return !isIn(reserved4, address);
  if (cidrContains(translated6, address)) return !isIn(reserved4, parsed.bytes.slice(12).join("."));
  return isIn(global6, address) && !isIn(reserved6, address);
}

function isIn(list: readonly Cidr[], address: string): boolean {
  return list.some((entry) => cidrContains(entry, address));
}

function networks(...texts: readonly string[]): readonly Cidr[] {
  return texts.map(network);
}

function network(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`Cannot read network: ${JSON.stringify(text)}`);
  return parsed;
}
