/** A request we understood and will not serve; anything else thrown is a fault. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  constructor(readonly code: RefusalCode, message: string, readonly options: RefusalOptions = {}) {
    super(message, options);
  }
}

/** What a refusal may tell besides its reason. */
export interface RefusalOptions extends ErrorOptions {
  /** The field of the request at fault. */
  readonly field?: string;
  /** Every fault found, as sentences. */
  readonly details?: readonly string[];
  /** Seconds after which the same request may be served. */
  readonly retryAfter?: number;
}

/** The kind of refusal, from which the HTTP status follows. */
export type RefusalClass =
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "invalid"
  | "too_large"
  | "conflict"
  | "limited"
  | "method"
  | "slow"
  | "unavailable"
  | "unsupported";

/** Reasons for which mail is refused, with their class; `replies.ts` is total over the keys (ruling 1.5). */
export const submissionRefusals = {
  // who is asking
  authentication_required: "unauthenticated",
  already_authenticated: "invalid",
  encryption_required: "forbidden",
  credentials_wrong: "unauthenticated",
  credentials_throttled: "limited",
  credentials_unavailable: "unavailable",
  account_suspended: "forbidden",
  // what is asked
  sender_address_invalid: "invalid",
  sender_domain_not_allowed: "forbidden",
  from_domain_not_allowed: "forbidden",
  recipient_address_invalid: "invalid",
  too_many_recipients: "limited",
  smtputf8_required: "invalid",
  message_too_large: "too_large",
  headers_too_large: "too_large",
  headers_invalid: "invalid",
  bare_line_ending: "invalid",
  mail_loop: "invalid",
  records_too_small: "invalid",
  not_found: "not_found",
  conflict: "conflict",
  // limits
  quota_reached: "limited",
  too_many_connections: "limited",
  too_many_errors: "limited",
  session_expired: "limited",
  body_memory_full: "limited",
  // outages
  body_store_full: "unavailable",
  body_store_down: "unavailable",
  database_down: "unavailable",
  queue_down: "unavailable",
  shutting_down: "unavailable",
} as const satisfies Record<string, RefusalClass>;

/** Reasons for which only a request to the API is refused, with their class. */
export const requestRefusals = {
  // who is asking
  permission_missing: "forbidden",
  scope_missing: "forbidden",
  group_unavailable: "forbidden",
  not_a_member: "forbidden",
  rank_too_low: "forbidden",
  user_is_shared: "forbidden",
  setting_not_allowed: "forbidden",
  signature_invalid: "unauthenticated",
  // what is asked
  request_invalid: "invalid",
  request_too_large: "too_large",
  request_too_slow: "slow",
  media_type_unsupported: "unsupported",
  method_not_allowed: "method",
  password_too_weak: "invalid",
  domain_not_allowed: "invalid",
  secret_required: "invalid",
  // what stands against it
  email_taken: "conflict",
  name_taken: "conflict",
  already_member: "conflict",
  last_owner: "conflict",
  self_deletion: "conflict",
  system_group_protected: "forbidden",
  mail_unfinished: "conflict",
  body_gone: "conflict",
  message_not_queued: "conflict",
  too_many: "conflict",
  too_many_conflicts: "limited",
  too_many_tests: "limited",
  subscription_unconfirmed: "unavailable",
  certificate_unavailable: "unavailable",
  secrets_unreadable: "conflict",
} as const satisfies Record<string, RefusalClass>;

/** Every reason for a refusal and its class, from which `problems.ts` makes the HTTP status. */
export const refusalClasses = { ...submissionRefusals, ...requestRefusals };

/** A closed union of reasons. */
export type RefusalCode = keyof typeof refusalClasses;
/** The reasons that an SMTP client may be told. */
export type SubmissionRefusalCode = keyof typeof submissionRefusals;

/** Whether a reason is one that an SMTP client may be told. */
export function isSubmissionRefusal(code: RefusalCode): code is SubmissionRefusalCode {
  return Object.hasOwn(submissionRefusals, code);
}
