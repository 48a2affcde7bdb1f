/** A request we understood and will not serve; anything else thrown is a fault. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  constructor(readonly code: RefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
  }
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
  | "unavailable";

/** Every reason for a refusal and its class; `replies.ts` and `problems.ts` are total over the keys (ruling 1.5). */
export const refusalClasses = {
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

/** A closed union of reasons. */
export type RefusalCode = keyof typeof refusalClasses;
