// Those who hand out AWS credentials: the token service (STS), a machine's metadata service and a container's
// credential service. They share no code with the client that they check.
import { type AwsKey, signatureFault } from "./aws_signature.ts";
import { FaultyHttp } from "./faulty_http.ts";
import type { HttpReply, SeenRequest } from "./faulty_http.ts";

/** Makes keys and tells a service of them. */
export class KeyMint {
  /** How long keys live. */
  lifeMs = 3_600_000;
  count = 0;
  readonly #keys: Map<string, AwsKey>;
  readonly #now: () => Date;

  constructor(keys: Map<string, AwsKey>, now: () => Date = () => new Date()) {
    this.#keys = keys;
    this.#now = now;
  }

  make(): {
    readonly id: string;
    readonly secret: string;
    readonly token: string;
    readonly expiration: string;
  } {
    const id = `ASIA${String(++this.count).padStart(8, "0")}`;
    const key = { secret: `secret/${id}+=`, token: `token/of&<${id}>==` };
    this.#keys.set(id, key);
    return { id, ...key, expiration: new Date(this.#now().getTime() + this.lifeMs).toISOString() };
  }
}

/** What the token service knows. */
export interface StsTerms {
  readonly region: string;
  /** Roles that may be assumed, with the web identity token or the key id that may. */
  readonly roles: ReadonlyMap<string, string>;
  readonly callers: ReadonlyMap<string, AwsKey>;
  readonly now: () => Date;
}

/** The token service: AssumeRole (signed) and AssumeRoleWithWebIdentity. */
export async function openSts(mint: KeyMint, terms: StsTerms): Promise<FaultyHttp> {
  return await FaultyHttp.open((request) => {
    const now = terms.now();
    const reply = stsReply(request, terms, mint, now);
    return { ...reply, headers: { "Date": now.toUTCString(), "Content-Type": "text/xml", ...reply.headers } };
  });
}

function stsReply(request: SeenRequest, terms: StsTerms, mint: KeyMint, now: Date): HttpReply {
  if (request.method !== "POST" || request.target !== "/") {
    return stsError(404, "InvalidAction", "No such page");
  }
  if (!/^application\/x-www-form-urlencoded/.test(request.headers.get("content-type") ?? "")) {
    return stsError(400, "InvalidParameterCombination", "No form");
  }
  const form = new URLSearchParams(new TextDecoder().decode(request.body));
  const role = form.get("RoleArn") ?? "";
  const allowed = terms.roles.get(role);
  if (form.get("Version") !== "2011-06-15") return stsError(400, "InvalidAction", "No such version");
  if (!/^[\w+=,.@-]{2,64}$/.test(form.get("RoleSessionName") ?? "")) {
    return stsError(400, "ValidationError", "RoleSessionName is no name");
  }
  if (form.get("Action") === "AssumeRoleWithWebIdentity") {
    if (request.headers.has("authorization")) {
      return stsError(400, "ValidationError", "It is not to be signed");
    }
    const isAllowed = allowed !== undefined && form.get("WebIdentityToken") === allowed;
    if (!isAllowed) return stsError(400, "InvalidIdentityToken", "Couldn't retrieve verification key");
    return stsKeys("AssumeRoleWithWebIdentity", mint);
  }
  if (form.get("Action") !== "AssumeRole") return stsError(400, "InvalidAction", "No such action");
  const { region, callers: keys } = terms;
  const wrong = signatureFault(request, { service: "sts", region, keys, now });
  if (wrong !== undefined) return stsError(403, wrong.type.replace(/Exception$/, ""), wrong.message);
  const caller = /Credential=([^/]+)/.exec(request.headers.get("authorization") ?? "")?.[1];
  if (caller !== allowed) return stsError(403, "AccessDenied", "Not authorized to perform: sts:AssumeRole");
  return stsKeys("AssumeRole", mint);
}

function stsKeys(action: string, mint: KeyMint): HttpReply {
  const { id, secret, token, expiration } = mint.make();
  const escaped = token.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return {
    status: 200,
    body: `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <${action}Result>\n` +
      `    <AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId><Arn>arn:x</Arn></AssumedRoleUser>\n` +
      `    <Credentials>\n      <AccessKeyId>${id}</AccessKeyId>\n      <SecretAccessKey>${secret}</SecretAccessKey>\n` +
      `      <SessionToken>${escaped}</SessionToken>\n      <Expiration>${expiration}</Expiration>\n` +
      `    </Credentials>\n  </${action}Result>\n</${action}Response>\n`,
  };
}

function stsError(status: number, code: string, message: string): HttpReply {
  return {
    status,
    body:
      `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error>` +
      `<RequestId>1</RequestId></ErrorResponse>`,
  };
}

/** A machine's metadata service, second version alone, with one role. */
export async function openMetadata(mint: KeyMint, role = "mail-sender"): Promise<FaultyHttp> {
  const sessions = new Set<string>();
  return await FaultyHttp.open(({ method, target, headers }) => {
    if (method === "PUT" && target === "/latest/api/token") {
      const seconds = Number(headers.get("x-aws-ec2-metadata-token-ttl-seconds"));
      if (!(seconds >= 1 && seconds <= 21_600) || headers.has("x-forwarded-for")) return { status: 403 };
      const session = crypto.randomUUID();
      sessions.add(session);
      return { status: 200, body: session };
    }
    if (!sessions.has(headers.get("x-aws-ec2-metadata-token") ?? "")) return { status: 401 };
    const path = "/latest/meta-data/iam/security-credentials/";
    if (method !== "GET" || role === "") return { status: 404 };
    if (target === path) return { status: 200, body: role };
    return target === path + role
      ? { status: 200, body: keysDocument(mint, { Code: "Success" }) }
      : { status: 404 };
  });
}

/** A container's credential service that wants an authorization. */
export async function openContainer(mint: KeyMint, authorization: () => string): Promise<FaultyHttp> {
  return await FaultyHttp.open(({ method, target, headers }) => {
    if (method !== "GET" || target !== "/v1/credentials") return { status: 404 };
    if (headers.get("authorization") !== authorization()) {
      return { status: 401, body: { code: "AccessDenied" } };
    }
    return { status: 200, body: keysDocument(mint, { RoleArn: "arn:x" }) };
  });
}

function keysDocument(
  mint: KeyMint,
  more: Readonly<Record<string, string>>,
): Readonly<Record<string, unknown>> {
  const { id, secret, token, expiration } = mint.make();
  return { ...more, AccessKeyId: id, SecretAccessKey: secret, Token: token, Expiration: expiration };
}
