import type { AwsCredentials } from "./aws_credentials.ts";
import type { DirectRequest } from "./fetch_direct.ts";

/** Where credentials come from; one source is used by many calls at a time. */
export interface CredentialSource {
  /** Credentials that should work now; throws `CredentialsFailure` and nothing else. */
  resolve(): Promise<AwsCredentials>;
  /** The service called these expired or unknown: the next `resolve` asks for others. */
  reject(used: AwsCredentials): void;
}

/** The ways to an identity; `chain` takes the first that is there, in the order of the others. */
export type CredentialKind =
  | "static"
  | "environment"
  | "web_identity"
  | "container"
  | "instance"
  | "chain";

/** Which credentials are wanted. */
export interface CredentialWish {
  readonly kind: CredentialKind;
  /** The keys themselves, for `static` and as the first of `chain`. */
  readonly keys?: AwsCredentials;
  /** A role to take on with them (AssumeRole). */
  readonly roleArn?: string;
  /** Region of the token service; the environment's, else `us-east-1`, when absent. */
  readonly region?: string;
}

/** The world as credentials see it. */
export interface CredentialWorld {
  readonly fetch: typeof fetch;
  /** The same past every proxy, for `http:` addresses of the machine itself. */
  readonly fetchDirect: (url: URL, request: DirectRequest) => Promise<Response>;
  readonly now: () => Date;
  /** A variable of the environment; undefined when it is not set. */
  readonly env: (name: string) => string | undefined;
  readonly readTextFile: (path: string) => Promise<string>;
}

/** Nothing is there, somebody said no, or nobody answered. */
export type CredentialsFailureCode =
  | "credentials_missing"
  | "credentials_refused"
  | "credentials_unavailable";

/** There are no credentials; the message says why and holds none. */
export class CredentialsFailure extends Error {
  override readonly name = "CredentialsFailure";
  constructor(readonly code: CredentialsFailureCode, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}
