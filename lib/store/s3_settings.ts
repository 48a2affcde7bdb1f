import type { CredentialSource, CredentialWish } from "../aws/credentials.ts";
import type { Config } from "../config/settings.ts";
import type { S3StoreOptions } from "./s3_store.ts";

/** The outside world as a store in S3 sees it. */
export interface S3World {
  readonly fetch: typeof fetch;
  readonly now: () => Date;
  readonly credentials: (wish: CredentialWish) => CredentialSource;
}

/** How to reach S3 as `storage.s3_*` says; undefined when no bucket is set. */
export function s3OptionsOf(storage: Config["storage"], world: S3World): S3StoreOptions | undefined {
  if (storage.s3Bucket === "") return undefined;
  const encryption = encryptionOf(storage);
  return {
    place: {
      bucket: storage.s3Bucket,
      prefix: storage.s3Prefix,
      endpoint: storage.s3Endpoint,
      region: storage.s3Region,
      addressing: storage.s3Addressing,
    },
    credentials: world.credentials(wishOf(storage)),
    fetch: world.fetch,
    now: world.now,
    ...encryption && { encryption },
  };
}

function wishOf(storage: Config["storage"]): CredentialWish {
  const { s3AccessKeyId, s3Credentials, s3Region, s3RoleArn } = storage;
  const sessionToken = storage.s3SessionToken.reveal();
  const keys = {
    accessKeyId: s3AccessKeyId,
    secretAccessKey: storage.s3SecretAccessKey.reveal(),
    ...sessionToken !== "" && { sessionToken },
  };
  return {
    kind: s3Credentials,
    region: s3Region,
    ...s3AccessKeyId !== "" && { keys },
    ...s3RoleArn !== "" && { roleArn: s3RoleArn },
  };
}

function encryptionOf({ s3Encryption, s3KmsKeyId }: Config["storage"]): S3StoreOptions["encryption"] {
  if (s3Encryption === "") return undefined;
  if (s3Encryption === "aes256") return { kind: "AES256" };
  return { kind: "aws:kms", ...s3KmsKeyId !== "" && { keyId: s3KmsKeyId } };
}
