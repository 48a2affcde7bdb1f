import type { AwsCredentials } from "./aws_credentials.ts";
import { CredentialsFailure, type CredentialWorld } from "./credentials.ts";
import { askNearby, type CredentialAnswer, parseCredentials } from "./credentials_request.ts";

const whom = "the instance metadata service";
const timeoutMs = 1000;
const tokenSeconds = 21_600;
const rolesPath = "/latest/meta-data/iam/security-credentials/";

/**
 * The credentials of the role of the machine we run on (EC2, IMDSv2 alone). From within a container the machine's hop
 * limit has to be 2. Throws `CredentialsFailure`.
 */
export async function instanceCredentials(world: CredentialWorld): Promise<AwsCredentials> {
  if (world.env("AWS_EC2_METADATA_DISABLED")?.toLowerCase() === "true") {
    throw new CredentialsFailure(
      "credentials_missing",
      "Cannot get credentials: AWS_EC2_METADATA_DISABLED is true",
    );
  }
  const token = await openSession(world);
  const headers = { "x-aws-ec2-metadata-token": token };
  const listed = await ask(world, rolesPath, headers);
  const role = listed.text.split("\n")[0]?.trim() ?? "";
  if (listed.status === 404 || role === "") {
    throw new CredentialsFailure("credentials_missing", "Cannot get credentials: the instance has no role");
  }
  if (!/^[\w+=,.@-]{1,64}$/.test(role)) {
    throw new CredentialsFailure(
      "credentials_unavailable",
      `Cannot get credentials: ${whom} names no role that can be read`,
    );
  }
  const { text } = await ask(world, rolesPath + encodeURIComponent(role), headers);
  return parseCredentials(text, whom);
}

async function openSession(world: CredentialWorld): Promise<string> {
  const answer = await askNearby(world, {
    whom,
    url: new URL("/latest/api/token", endpointOf(world)),
    method: "PUT",
    headers: { "x-aws-ec2-metadata-token-ttl-seconds": String(tokenSeconds) },
    timeoutMs,
  });
  const token = answer.text.trim();
  if (answer.status === 200 && /^[\x21-\x7e]{1,4096}$/.test(token)) return token;
  throw failureOf(answer, "gives no session token");
}

async function ask(world: CredentialWorld, path: string, headers: Readonly<Record<string, string>>) {
  const url = new URL(path, endpointOf(world));
  const answer = await askNearby(world, { whom, url, headers, timeoutMs });
  if (answer.status === 200 || (answer.status === 404 && path === rolesPath)) return answer;
  throw failureOf(answer, "gives no credentials");
}

function failureOf({ status }: CredentialAnswer, what: string): CredentialsFailure {
  const code = status === 403 || status === 404 || status === 405
    ? "credentials_refused"
    : "credentials_unavailable";
  return new CredentialsFailure(code, `Cannot get credentials: ${whom} ${what}: it answered ${status}`);
}

function endpointOf({ env }: CredentialWorld): URL {
  const given = env("AWS_EC2_METADATA_SERVICE_ENDPOINT") || undefined;
  const isIpv6 = env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")?.toLowerCase() === "ipv6";
  const url = URL.parse(given ?? (isIpv6 ? "http://[fd00:ec2::254]" : "http://169.254.169.254"));
  if (url !== null && /^https?:$/.test(url.protocol)) return url;
  throw new CredentialsFailure(
    "credentials_refused",
    `Cannot get credentials: AWS_EC2_METADATA_SERVICE_ENDPOINT is no URL: current value is ${given}`,
  );
}
