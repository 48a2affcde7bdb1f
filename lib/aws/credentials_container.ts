import type { AwsCredentials } from "./aws_credentials.ts";
import { CredentialsFailure, type CredentialWorld } from "./credentials.ts";
import { askNearby, parseCredentials } from "./credentials_request.ts";

const whom = "the container's credential service";
const timeoutMs = 2000;
const relative = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const full = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const tokenFile = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/** The services of ECS and EKS: the only hosts besides loopback that may be asked without TLS. */
const plainHosts = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "[::1]", "localhost"];
const loopback = /^127(\.\d{1,3}){3}$/;

/** The credentials of the task or pod we run in (ECS, EKS Pod Identity). Throws `CredentialsFailure`. */
export async function containerCredentials(world: CredentialWorld): Promise<AwsCredentials> {
  const url = addressOf(world);
  const authorization = await authorizationOf(world);
  const answer = await askNearby(world, {
    whom,
    url,
    headers: {
      accept: "application/json",
      ...(authorization === undefined ? {} : { authorization }),
    },
    timeoutMs,
  });
  if (answer.status === 200) return parseCredentials(answer.text, whom);
  const code = answer.status >= 400 && answer.status < 500 && answer.status !== 429
    ? "credentials_refused"
    : "credentials_unavailable";
  throw new CredentialsFailure(code, `Cannot get credentials: ${whom} answered ${answer.status}`);
}

function addressOf({ env }: CredentialWorld): URL {
  const path = env(relative) || undefined;
  if (path !== undefined) {
    const url = path.startsWith("/") ? URL.parse(`http://169.254.170.2${path}`) : null;
    if (url !== null) return url;
    throw refused(`${relative} is no path`);
  }
  const text = env(full) || undefined;
  if (text === undefined) {
    throw new CredentialsFailure(
      "credentials_missing",
      `Cannot get credentials: neither ${relative} nor ${full} is set`,
    );
  }
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) throw refused(`${full} is no URL`);
  if (url.protocol === "http:" && !plainHosts.includes(url.hostname) && !loopback.test(url.hostname)) {
    throw refused(`${full} names ${url.host}, which may be asked by https alone`);
  }
  return url;
}

/** The file is read each time: its content is renewed. */
async function authorizationOf({ env, readTextFile }: CredentialWorld): Promise<string | undefined> {
  const path = env(tokenFile) || undefined;
  const token = path === undefined
    ? env("AWS_CONTAINER_AUTHORIZATION_TOKEN") || undefined
    : (await readFile(readTextFile, path)).trim();
  if (token !== undefined && !/^[\x20-\x7e]+$/.test(token)) {
    throw refused("the authorization token is empty or holds a line end");
  }
  return token;
}

async function readFile(readTextFile: CredentialWorld["readTextFile"], path: string): Promise<string> {
  try {
    return await readTextFile(path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw refused(`${tokenFile} cannot be read: ${why}`, { cause: error });
  }
}

function refused(why: string, options?: ErrorOptions): CredentialsFailure {
  return new CredentialsFailure("credentials_refused", `Cannot get credentials: ${why}`, options);
}
