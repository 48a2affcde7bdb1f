/** Keys that sign requests to AWS, or to whatever speaks its protocols; never written to a log. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Sent with temporary keys only. */
  readonly sessionToken?: string;
  /** When temporary keys end; keys without it do not. */
  readonly expiresAt?: Date;
}
