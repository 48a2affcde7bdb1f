/** What an answer says that is an error. */
export interface FakeError {
  readonly status: number;
  readonly code: string;
  /** Elements of the error beside code and message. */
  readonly more?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Who may sign, where and when. */
export interface SignatureTerms {
  readonly region: string;
  /** Secrets by access key id, with the session token that must come along. */
  readonly keys: ReadonlyMap<string, { readonly secret: string; readonly token?: string }>;
  readonly now: Date;
}

const encoder = new TextEncoder();

/** Checks a request's Signature Version 4 from the specification alone; what is wrong, or nothing. */
export async function signatureFault(
  request: Request,
  body: Uint8Array,
  { region, keys, now }: SignatureTerms,
): Promise<FakeError | undefined> {
  const given = new RegExp(
    "^AWS4-HMAC-SHA256 Credential=([^/,]+)/(\\d{8})/([^/]+)/([^/]+)/aws4_request, " +
      "SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$",
  ).exec(request.headers.get("authorization") ?? "");
  if (given === null) return { status: 403, code: "AccessDenied" };
  const [, keyId = "", day = "", scopeRegion = "", service, signedList = "", signature] = given;
  const longDate = request.headers.get("x-amz-date") ?? "";
  if (!/^\d{8}T\d{6}Z$/.test(longDate) || !longDate.startsWith(day) || service !== "s3") {
    return { status: 403, code: "SignatureDoesNotMatch" };
  }
  const key = keys.get(keyId);
  if (key === undefined) return { status: 403, code: "InvalidAccessKeyId" };
  if ((request.headers.get("x-amz-security-token") ?? undefined) !== key.token) {
    return { status: 400, code: "InvalidToken" };
  }
  if (scopeRegion !== region) {
    return { status: 400, code: "AuthorizationHeaderMalformed", more: { Region: region } };
  }
  const signedAt = Date.parse(longDate.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  if (Math.abs(signedAt - now.getTime()) > 15 * 60_000) {
    const more = { ServerTime: now.toISOString() };
    return { status: 403, code: "RequestTimeTooSkewed", more };
  }
  const signed = signedList.split(";");
  const mustBe = [...request.headers.keys()].filter((name) =>
    name.startsWith("x-amz-") || name === "content-type" || name === "content-md5"
  );
  if (
    signed.join() !== [...signed].sort().join() || !["host", ...mustBe].every((name) => signed.includes(name))
  ) {
    return { status: 403, code: "AccessDenied" };
  }
  const bodyHash = hex(await digest(body));
  if (request.headers.get("x-amz-content-sha256") !== bodyHash) {
    return { status: 400, code: "XAmzContentSHA256Mismatch" };
  }
  const url = new URL(request.url);
  const canonical = [
    request.method,
    url.pathname.split("/").map((part) => encoded(decodeURIComponent(part))).join("/"),
    canonicalQuery(url),
    ...signed.map((name) => `${name}:${valueOf(request, url, name)}`),
    "",
    signedList,
    bodyHash,
  ].join("\n");
  const scope = `${day}/${region}/s3/aws4_request`;
  const toSign = `AWS4-HMAC-SHA256\n${longDate}\n${scope}\n${hex(await digest(encoder.encode(canonical)))}`;
  let signing: Uint8Array = encoder.encode(`AWS4${key.secret}`);
  for (const step of [day, region, "s3", "aws4_request"]) signing = await hmac(signing, step);
  return hex(await hmac(signing, toSign)) === signature
    ? undefined
    : { status: 403, code: "SignatureDoesNotMatch" };
}

function valueOf(request: Request, url: URL, name: string): string {
  const value = name === "host" ? request.headers.get("host") ?? url.host : request.headers.get(name) ?? "";
  return value.trim().replace(/ +/g, " ");
}

function canonicalQuery(url: URL): string {
  const pairs = url.search.slice(1).split("&").filter((pair) => pair !== "").map((pair) => {
    const [name = "", value = ""] = pair.split("=").map((part) =>
      decodeURIComponent(part.replaceAll("+", " "))
    );
    return [encoded(name), encoded(value)] as const;
  });
  pairs.sort(([a, x], [b, y]) => a < b ? -1 : a > b ? 1 : x < y ? -1 : x > y ? 1 : 0);
  return pairs.map((pair) => pair.join("=")).join("&");
}

function encoded(text: string): string {
  return Array.from(
    encoder.encode(text),
    (byte) =>
      /[A-Za-z0-9._~-]/.test(String.fromCharCode(byte))
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
  ).join("");
}

/** SHA-256 by the platform's own means. */
export async function digest(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
}

async function hmac(key: Uint8Array, text: string): Promise<Uint8Array> {
  const imported = await crypto.subtle.importKey(
    "raw",
    key as Uint8Array<ArrayBuffer>,
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, encoder.encode(text)));
}

/** Bytes as lower-case hex. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
