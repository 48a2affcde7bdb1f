import type { Reply } from "./reply.ts";

/** What went wrong between us and an SMTP server; stable, of low cardinality. */
export type SmtpFailureCode =
  | "address_not_allowed"
  | "dns_failed"
  | "connect_failed"
  | "connect_timeout"
  | "greeting_refused"
  | "hello_refused"
  | "tls_unavailable"
  | "tls_refused"
  | "tls_failed"
  | "certificate_invalid"
  | "auth_unavailable"
  | "auth_refused"
  | "timeout"
  | "connection_lost"
  | "connections_busy"
  | "protocol_error"
  | "service_closing"
  | "address_invalid"
  | "bare_line_ending"
  | "header_too_long"
  | "body_unreadable"
  | "aborted";

/** Why a connection or a transaction did not go on; with the server's reply where one was the reason. */
export class SmtpFailure extends Error {
  override readonly name = "SmtpFailure";
  constructor(
    readonly code: SmtpFailureCode,
    message: string,
    readonly reply?: Reply,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
