import { join } from "node:path";
import type { AwsCredentials } from "../../lib/aws/aws_credentials.ts";
import { objectOf } from "../../lib/store/s3_ref.ts";
import { openS3Store, type ReachableStore, type S3StoreOptions } from "../../lib/store/s3_store.ts";
import { fakeBucket, fakeKeys, type FakeS3, startFakeS3 } from "./fake_s3.ts";

/** A store in a fake S3 of its own. */
export interface TestS3Store extends AsyncDisposable {
  readonly fake: FakeS3;
  readonly store: ReachableStore;
  /** How the store was opened. */
  readonly options: S3StoreOptions;
  /** Another store in the same bucket, as another process would have. */
  reopen(options?: Partial<S3StoreOptions>): ReachableStore;
  /** How long was waited between tries, in milliseconds; nobody really waits. */
  readonly waits: number[];
}

/** The prefix of the test stores' keys. */
export const testPrefix = "mail/bodies";

/** The key of a reference. */
export function keyOf(ref: string): string {
  return join(testPrefix, objectOf(ref)?.path ?? "");
}

/** Credentials that stay as they are. */
export function fixedCredentials(keys: AwsCredentials = fakeKeys) {
  return { resolve: () => Promise.resolve(keys), reject() {} };
}

/** Starts a service and opens a store in it. */
export function openTestS3Store(options: Partial<S3StoreOptions> = {}): TestS3Store {
  const fake = startFakeS3();
  const waits: number[] = [];
  const base: S3StoreOptions = {
    place: {
      bucket: fakeBucket,
      prefix: testPrefix,
      endpoint: fake.origin,
      region: "us-east-1",
      addressing: "auto",
    },
    credentials: fixedCredentials(),
    fetch,
    now: () => new Date(),
    sleep: (ms) => Promise.resolve(void waits.push(ms)),
    ...options,
  };
  const reopen = (more: Partial<S3StoreOptions> = {}) => openS3Store({ ...base, ...more });
  return {
    fake,
    store: reopen(),
    options: base,
    reopen,
    waits,
    [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
  };
}
