import { cidrContains, normalAddress, parseAddress, parseCidr } from "../../lib/network/cidr.ts";

/** What is known of a request before anybody knows who sent it. */
export interface Call {
  /** As the client gave it, or a new one; in every log line, activity and answer. */
  readonly correlationId: string;
  /** The client's IP address. */
  readonly address: string;
  readonly userAgent: string | undefined;
}

/** The correlation id of a request, when it is one: up to 64 letters, digits and `._:-`; else a new UUID. */
export function correlationIdOf(headers: Headers): string {
  const given = headers.get("x-correlation-id");
  return given !== null && /^[A-Za-z0-9._:-]{1,64}$/.test(given) ? given : crypto.randomUUID();
}

/** Makes the function that tells a client's address: the last one in X-Forwarded-For that is no trusted proxy's. */
export function clientAddresses(
  trustedNetworks: readonly string[],
): (headers: Headers, peer: string) => string {
  const networks = trustedNetworks.flatMap((network) => parseCidr(network) ?? []);
  const isTrusted = (address: string) => networks.some((network) => cidrContains(network, address));
  return (headers, peer) => {
    let client = normalAddress(peer);
    const chain = headers.get("x-forwarded-for")?.split(",") ?? [];
    while (isTrusted(client) && chain.length > 0) {
      const before = chain.pop()?.trim() ?? "";
      if (parseAddress(before) === undefined) break;
      client = normalAddress(before);
    }
    return client;
  };
}

/** Who sent the request, as far as the request itself tells. */
export function callOf(headers: Headers, address: string): Call {
  return {
    correlationId: correlationIdOf(headers),
    address,
    userAgent: headers.get("user-agent")?.slice(0, 500) || undefined,
  };
}
