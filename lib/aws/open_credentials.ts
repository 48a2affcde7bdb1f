import type { AwsCredentials } from "./aws_credentials.ts";
import {
  type CredentialKind,
  CredentialsFailure,
  type CredentialSource,
  type CredentialWish,
  type CredentialWorld,
} from "./credentials.ts";
import { CachedCredentials } from "./credentials_cache.ts";
import { containerCredentials } from "./credentials_container.ts";
import { instanceCredentials } from "./credentials_instance.ts";
import { roleCredentials, webIdentityCredentials } from "./credentials_sts.ts";
import { credentialsFrom } from "./credentials_request.ts";

/** How long a machine's keys are used beyond their end while its metadata service has no others. */
const instanceGraceMs = 15 * 60_000;
const mostShared = 100;
const chain = ["static", "environment", "web_identity", "container", "instance"] as const;

/**
 * Opens the credentials that somebody wishes for. Those of the environment, the container and the machine are shared
 * by all who ask for them; nothing is asked for before the first `resolve`.
 */
export function createCredentials(world: CredentialWorld): (wish: CredentialWish) => CredentialSource {
  const shared = new Map<string, CredentialSource>();
  function baseOf(wish: CredentialWish): CredentialSource {
    if (wish.keys !== undefined || wish.kind === "static") return openBase(wish, world);
    const name = `${wish.kind} ${wish.region ?? ""}`;
    const known = shared.get(name);
    if (known !== undefined) return known;
    if (shared.size >= mostShared) shared.clear();
    const source = openBase(wish, world);
    shared.set(name, source);
    return source;
  }
  return (wish) => {
    const base = baseOf(wish);
    const { roleArn, region } = wish;
    if (roleArn === undefined) return base;
    return new CachedCredentials(() => roleCredentials(world, base, { roleArn, region }), { now: world.now });
  };
}

function openBase(wish: CredentialWish, world: CredentialWorld): CredentialSource {
  const { kind } = wish;
  const load = kind === "chain" ? () => firstOf(wish, world) : () => loadOne(kind, wish, world);
  const graceMs = kind === "instance" || kind === "chain" ? instanceGraceMs : 0;
  return new CachedCredentials(load, { now: world.now, graceMs });
}

/** The first of the chain that is there at all; one that is there and fails ends the search. */
async function firstOf(wish: CredentialWish, world: CredentialWorld): Promise<AwsCredentials> {
  for (const kind of chain) {
    try {
      return await loadOne(kind, wish, world);
    } catch (error) {
      if (!(error instanceof CredentialsFailure) || error.code !== "credentials_missing") throw error;
      if (kind === chain.at(-1)) {
        throw new CredentialsFailure(
          "credentials_missing",
          `Cannot get credentials: neither settings, environment, web identity, container nor instance has any: ${error.message}`,
          { cause: error },
        );
      }
    }
  }
  throw new Error("The chain of credentials has no end");
}

async function loadOne(
  kind: Exclude<CredentialKind, "chain">,
  { keys, region }: CredentialWish,
  world: CredentialWorld,
): Promise<AwsCredentials> {
  switch (kind) {
    case "static":
      if (keys !== undefined) return keys;
      throw new CredentialsFailure("credentials_missing", "Cannot get credentials: no keys are set");
    case "environment":
      return environmentCredentials(world);
    case "web_identity":
      return await webIdentityCredentials(world, region);
    case "container":
      return await containerCredentials(world);
    case "instance":
      return await instanceCredentials(world);
  }
}

function environmentCredentials({ env }: CredentialWorld): AwsCredentials {
  const accessKeyId = env("AWS_ACCESS_KEY_ID") || undefined;
  const secretAccessKey = env("AWS_SECRET_ACCESS_KEY") || undefined;
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    const missing = accessKeyId === undefined ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY";
    throw new CredentialsFailure("credentials_missing", `Cannot get credentials: ${missing} is not set`);
  }
  return credentialsFrom({
    accessKeyId,
    secretAccessKey,
    sessionToken: env("AWS_SESSION_TOKEN"),
    expiration: env("AWS_CREDENTIAL_EXPIRATION"),
  }, "the environment");
}
