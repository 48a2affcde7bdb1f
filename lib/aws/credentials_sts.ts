import type { AwsCredentials } from "./aws_credentials.ts";
import { CredentialsFailure, type CredentialSource, type CredentialWorld } from "./credentials.ts";
import { askForCredentials, type CredentialAnswer, credentialsFrom } from "./credentials_request.ts";
import { awsDomain, regionPattern } from "./region.ts";
import { ServiceClock } from "./service_clock.ts";
import { hashOf, signRequest } from "./sign.ts";

const whom = "the token service";
const timeoutMs = 5000;
const lifeSeconds = 3600;
const defaultSession = "smtp-proxy";
const form = { "content-type": "application/x-www-form-urlencoded; charset=utf-8" } as const;

/**
 * The credentials of the role that `AWS_ROLE_ARN` names, in exchange for the token in `AWS_WEB_IDENTITY_TOKEN_FILE`
 * (AssumeRoleWithWebIdentity; EKS, OIDC). The file is read each time. Throws `CredentialsFailure`.
 */
export async function webIdentityCredentials(
  world: CredentialWorld,
  region: string | undefined,
): Promise<AwsCredentials> {
  const path = world.env("AWS_WEB_IDENTITY_TOKEN_FILE") || undefined;
  const role = world.env("AWS_ROLE_ARN") || undefined;
  if (path === undefined || role === undefined) {
    const missing = path === undefined ? "AWS_WEB_IDENTITY_TOKEN_FILE" : "AWS_ROLE_ARN";
    throw new CredentialsFailure("credentials_missing", `Cannot get credentials: ${missing} is not set`);
  }
  const body = query("AssumeRoleWithWebIdentity", {
    RoleArn: role,
    RoleSessionName: world.env("AWS_ROLE_SESSION_NAME") || defaultSession,
    WebIdentityToken: await readToken(world, path),
  });
  const { url } = serviceOf(world, region);
  return readAnswer(
    await askForCredentials(world, { whom, url, method: "POST", headers: form, body, timeoutMs }),
  );
}

/** The credentials of a role, by leave of those of `from` (AssumeRole). Throws `CredentialsFailure`. */
export async function roleCredentials(
  world: CredentialWorld,
  from: CredentialSource,
  { roleArn, region }: { readonly roleArn: string; readonly region?: string | undefined },
): Promise<AwsCredentials> {
  const clock = new ServiceClock(world.now);
  const body = query("AssumeRole", {
    RoleArn: roleArn,
    RoleSessionName: world.env("AWS_ROLE_SESSION_NAME") || defaultSession,
  });
  for (let attempt = 1;; attempt++) {
    const credentials = await from.resolve();
    const answer = await askSigned(world, region, { body, credentials, now: clock.now() });
    if (attempt > 1 || answer.status === 200) return readAnswer(answer);
    const { code } = errorIn(answer);
    if (/^(ExpiredToken|InvalidClientTokenId|UnrecognizedClient)/.test(code)) from.reject(credentials);
    else if (!clock.correct(answer.date)) return readAnswer(answer);
  }
}

async function askSigned(
  world: CredentialWorld,
  wanted: string | undefined,
  { body, ...signing }: { readonly body: string; readonly credentials: AwsCredentials; readonly now: Date },
): Promise<CredentialAnswer> {
  const { url, region } = serviceOf(world, wanted);
  const payloadHash = hashOf(body);
  const request = { method: "POST", url, headers: form, payloadHash };
  const headers = await signRequest(request, { service: "sts", region, ...signing });
  return await askForCredentials(world, { whom, url, method: "POST", headers, body, timeoutMs });
}

function serviceOf({ env }: CredentialWorld, wanted: string | undefined) {
  const region = wanted ?? (env("AWS_REGION") || env("AWS_DEFAULT_REGION") || "us-east-1");
  if (!regionPattern.test(region)) {
    throw new CredentialsFailure(
      "credentials_refused",
      `Cannot get credentials: the region is none: current value is ${JSON.stringify(region)}`,
    );
  }
  const given = env("AWS_ENDPOINT_URL_STS") || undefined;
  const url = URL.parse(given ?? `https://sts.${region}.${awsDomain(region)}/`);
  if (url !== null && /^https?:$/.test(url.protocol)) return { url, region };
  throw new CredentialsFailure(
    "credentials_refused",
    `Cannot get credentials: AWS_ENDPOINT_URL_STS is no URL: current value is ${given}`,
  );
}

function query(action: string, parameters: Readonly<Record<string, string>>): string {
  const all = { Action: action, Version: "2011-06-15", DurationSeconds: String(lifeSeconds), ...parameters };
  return new URLSearchParams(all).toString();
}

async function readToken({ readTextFile }: CredentialWorld, path: string): Promise<string> {
  try {
    const token = (await readTextFile(path)).trim();
    if (token !== "") return token;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CredentialsFailure(
      "credentials_refused",
      `Cannot get credentials: AWS_WEB_IDENTITY_TOKEN_FILE cannot be read: ${why}`,
      { cause: error },
    );
  }
  throw new CredentialsFailure(
    "credentials_refused",
    "Cannot get credentials: the file that AWS_WEB_IDENTITY_TOKEN_FILE names is empty",
  );
}

function readAnswer(answer: CredentialAnswer): AwsCredentials {
  const { status, text } = answer;
  if (status === 200) {
    return credentialsFrom({
      accessKeyId: element(text, "AccessKeyId"),
      secretAccessKey: element(text, "SecretAccessKey"),
      sessionToken: element(text, "SessionToken"),
      expiration: element(text, "Expiration"),
    }, whom);
  }
  const { code, message } = errorIn(answer);
  const isTrouble = status >= 500 || status === 429 || status < 400 ||
    /^(Throttling|RequestLimitExceeded|IDPCommunicationError|PriorRequestNotComplete)/.test(code);
  throw new CredentialsFailure(
    isTrouble ? "credentials_unavailable" : "credentials_refused",
    `Cannot get credentials: ${whom} answered ${status} ${code}: ${message}`.slice(0, 500),
  );
}

function errorIn({ text }: CredentialAnswer) {
  return { code: element(text, "Code") ?? "without a code", message: element(text, "Message") ?? "" };
}

/** The text of the first element of a name; these documents have neither attributes nor nesting of equal names. */
function element(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]?.trim();
  return text?.replace(/&(lt|gt|quot|apos|amp|#\d{1,5});/g, (whole, entity: string) => {
    const named: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
    return named[entity] ?? (entity.startsWith("#") ? String.fromCodePoint(Number(entity.slice(1))) : whole);
  });
}
