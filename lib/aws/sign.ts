import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";
import { SignatureV4 } from "@smithy/signature-v4";
import type { AwsCredentials } from "./aws_credentials.ts";

/** A request as it will be given to fetch; its body is known by its hash alone. */
export interface UnsignedRequest {
  readonly method: string;
  /** Host and port are signed as they stand here, because fetch sends no other. */
  readonly url: URL;
  /** A `date` among them is left out: the one of the signature is `x-amz-date`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What `hashOf` says of the body, or `unsignedPayload` for one that TLS alone protects. */
  readonly payloadHash: string;
}

/** Whose signature a request gets, and for what. */
export interface SigningScope {
  /** AWS's name of the service in signatures, e.g. `s3` or `ses`. */
  readonly service: string;
  readonly region: string;
  readonly credentials: AwsCredentials;
  /** The time to sign with; a server takes none that is 15 minutes off its own. */
  readonly now: Date;
}

/** Stands for the hash of a body that is not signed; only for TLS. */
export const unsignedPayload = "UNSIGNED-PAYLOAD";

/** The SHA-256 of a body in hex, as signatures want it; a string counts as UTF-8. */
export function hashOf(body: Uint8Array | string): string {
  return createHash("sha256").update(body).digest("hex");
}

/**
 * All headers to give to fetch, in lower case: those of the request, the date, the hash, the session token and the
 * Signature Version 4 over each of them. Redirects must not be followed with them: another host is another signature.
 */
export async function signRequest(
  { method, url, headers = {}, payloadHash }: UnsignedRequest,
  { service, region, credentials, now }: SigningScope,
): Promise<Record<string, string>> {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  const signer = new SignatureV4({
    service,
    region,
    credentials: { accessKeyId, secretAccessKey, ...sessionToken !== undefined && { sessionToken } },
    sha256: NodeSha256,
    // S3 signs a path as it is sent, every other service encodes it once more.
    uriEscapePath: service !== "s3",
    applyChecksum: false,
  });
  const signed = await signer.sign({
    method,
    protocol: url.protocol,
    hostname: url.hostname,
    path: encodedOnce(url.pathname),
    query: queryOf(url),
    headers: { ...lowerCased(headers), host: url.host, "x-amz-content-sha256": payloadHash },
  }, { signingDate: now });
  const { host: _fetchSetsIt, ...toSend } = signed.headers;
  return toSend;
}

/** Every byte of a path's segments encoded but for the unreserved ones, whatever the URL had left as it was. */
function encodedOnce(path: string): string {
  return path.split("/").map((segment) => encodeStrictly(decodeURIComponent(segment))).join("/");
}

function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function queryOf(url: URL): Record<string, string | string[]> {
  const query: Record<string, string[]> = {};
  for (const [key, value] of url.searchParams) (query[key] ??= []).push(value);
  return query;
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** The platform's own SHA-256 in the shape that the signer wants; with a secret it is an HMAC. */
class NodeSha256 {
  readonly #secret: Uint8Array | string | undefined;
  #hash: Hash | Hmac;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#secret = secret === undefined || typeof secret === "string" ? secret : bytesOf(secret);
    this.#hash = this.#begin();
  }

  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(typeof data === "string" ? data : bytesOf(data));
  }

  digest(): Promise<Uint8Array> {
    return Promise.resolve(this.#hash.digest());
  }

  reset(): void {
    this.#hash = this.#begin();
  }

  #begin(): Hash | Hmac {
    return this.#secret === undefined ? createHash("sha256") : createHmac("sha256", this.#secret);
  }
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
