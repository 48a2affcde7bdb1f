// Signature Version 4 as its specification has it, by node:crypto alone; S3 differs and is not meant here.
import { createHash, createHmac } from "node:crypto";
import type { SeenRequest } from "./http_request_reader.ts";

/** A secret, and the session token that must come along with temporary ones. */
export interface AwsKey {
  readonly secret: string;
  readonly token?: string;
  /** The service takes it no longer. */
  readonly isExpired?: boolean;
}

/** Who may sign, where and when. */
export interface SigningTerms {
  readonly service: string;
  readonly region: string;
  readonly keys: ReadonlyMap<string, AwsKey>;
  readonly now: Date;
}

/** What is wrong with a signature, in the service's words. */
export interface SignatureFault {
  readonly type: string;
  readonly message: string;
}

const skewMs = 5 * 60_000;

/** Checks a request's signature over its method, path, query, signed headers and body; undefined when it is right. */
export function signatureFault(request: SeenRequest, terms: SigningTerms): SignatureFault | undefined {
  const given = request.headers.get("authorization");
  if (given === undefined) {
    return fault("MissingAuthenticationTokenException", "Missing Authentication Token");
  }
  const parts =
    /^AWS4-HMAC-SHA256 Credential=([^/\s,]+)\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/
      .exec(given);
  if (parts === null) return fault("IncompleteSignatureException", "Authorization header cannot be read");
  const [, id = "", day = "", region = "", service = "", names = "", signature = ""] = parts;
  const key = terms.keys.get(id);
  if (key === undefined) {
    return fault("UnrecognizedClientException", "The security token included in the request is invalid.");
  }
  if (key.isExpired === true) {
    return fault("ExpiredTokenException", "The security token included in the request is expired");
  }
  if (request.headers.get("x-amz-security-token") !== key.token) {
    return fault("UnrecognizedClientException", "The security token included in the request is invalid.");
  }
  const date = request.headers.get("x-amz-date") ?? "";
  const scope = `${day}/${region}/${service}/aws4_request`;
  if (region !== terms.region || service !== terms.service || !date.startsWith(day)) {
    return fault(
      "InvalidSignatureException",
      `Credential should be scoped to ${terms.region}/${terms.service}`,
    );
  }
  const late = lateness(date, terms.now);
  if (late !== undefined) return late;
  const missing = unsigned(request, names.split(";"));
  if (missing !== undefined) return fault("InvalidSignatureException", `${missing} is sent but not signed`);
  const bodyHash = sha256(request.body);
  const claimed = request.headers.get("x-amz-content-sha256");
  if (claimed !== undefined && claimed !== bodyHash) {
    return fault("InvalidSignatureException", "The hash of the body is another");
  }
  const text = ["AWS4-HMAC-SHA256", date, scope, sha256(canonical(request, names, bodyHash))].join("\n");
  let signing: Uint8Array = new TextEncoder().encode(`AWS4${key.secret}`);
  for (const step of [day, region, service, "aws4_request"]) {
    signing = createHmac("sha256", signing).update(step).digest();
  }
  if (createHmac("sha256", signing).update(text).digest("hex") === signature) return undefined;
  return fault(
    "InvalidSignatureException",
    `The request signature we calculated does not match. The canonical string was ${
      canonical(request, names, bodyHash)
    }`,
  );
}

function fault(type: string, message: string): SignatureFault {
  return { type, message };
}

function lateness(date: string, now: Date): SignatureFault | undefined {
  const found = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date)?.slice(1).map(Number);
  if (found === undefined) return fault("IncompleteSignatureException", "X-Amz-Date cannot be read");
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found;
  const offMs = Date.UTC(year, month - 1, day, hour, minute, second) - now.getTime();
  if (Math.abs(offMs) <= skewMs) return undefined;
  const what = offMs < 0 ? "Signature expired" : "Signature not yet current";
  return fault("InvalidSignatureException", `${what}: ${date} is too far from ${now.toISOString()}`);
}

function unsigned({ headers }: SeenRequest, names: readonly string[]): string | undefined {
  return [...headers.keys()].filter((name) => name === "host" || name.startsWith("x-amz-"))
    .find((name) => !names.includes(name));
}

function canonical({ method, target, headers }: SeenRequest, names: string, bodyHash: string): string {
  const [path = "", query = ""] = target.split("?");
  const pairs = query.split("&").filter((pair) => pair !== "").map((pair) => {
    const [name = "", value = ""] = pair.split("=");
    return `${encoded(plain(name))}=${encoded(plain(value))}`;
  });
  return [
    method,
    path.split("/").map(encoded).join("/"),
    pairs.sort().join("&"),
    ...names.split(";").map((name) => `${name}:${(headers.get(name) ?? "").replace(/ +/g, " ")}`),
    "",
    names,
    bodyHash,
  ].join("\n");
}

function plain(text: string): string {
  return decodeURIComponent(text.replaceAll("+", " "));
}

function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function sha256(content: Uint8Array | string): string {
  return createHash("sha256").update(content).digest("hex");
}
