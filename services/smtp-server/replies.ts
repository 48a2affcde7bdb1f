import { isSubmissionRefusal, type Refusal, type SubmissionRefusalCode } from "../../lib/refusal.ts";

/** A basic reply code (RFC 5321) and its enhanced one (RFC 3463); a greeting, EHLO and 3xx have none (RFC 2034). */
export interface Reply {
  readonly code: number;
  readonly enhanced?: string;
}

/** How each refusal is told to an SMTP client. */
export const refusalReplies = {
  authentication_required: { code: 530, enhanced: "5.7.0" },
  already_authenticated: { code: 503, enhanced: "5.5.1" },
  encryption_required: { code: 538, enhanced: "5.7.11" },
  credentials_wrong: { code: 535, enhanced: "5.7.8" },
  credentials_throttled: { code: 454, enhanced: "4.7.0" },
  credentials_unavailable: { code: 454, enhanced: "4.7.0" },
  account_suspended: { code: 550, enhanced: "5.7.1" },
  sender_address_invalid: { code: 550, enhanced: "5.1.7" },
  sender_domain_not_allowed: { code: 550, enhanced: "5.7.1" },
  from_domain_not_allowed: { code: 550, enhanced: "5.7.1" },
  recipient_address_invalid: { code: 501, enhanced: "5.1.3" },
  too_many_recipients: { code: 452, enhanced: "4.5.3" },
  smtputf8_required: { code: 553, enhanced: "5.6.7" },
  message_too_large: { code: 552, enhanced: "5.3.4" },
  headers_too_large: { code: 552, enhanced: "5.3.4" },
  headers_invalid: { code: 550, enhanced: "5.6.0" },
  bare_line_ending: { code: 550, enhanced: "5.6.11" },
  mail_loop: { code: 554, enhanced: "5.4.6" },
  records_too_small: { code: 554, enhanced: "5.5.0" },
  not_found: { code: 550, enhanced: "5.0.0" },
  conflict: { code: 550, enhanced: "5.6.0" },
  quota_reached: { code: 452, enhanced: "4.7.1" },
  too_many_connections: { code: 421, enhanced: "4.7.0" },
  too_many_errors: { code: 421, enhanced: "4.7.0" },
  session_expired: { code: 421, enhanced: "4.4.2" },
  body_memory_full: { code: 452, enhanced: "4.3.1" },
  body_store_full: { code: 452, enhanced: "4.3.1" },
  body_store_down: { code: 451, enhanced: "4.3.0" },
  database_down: { code: 451, enhanced: "4.3.0" },
  queue_down: { code: 451, enhanced: "4.3.0" },
  shutting_down: { code: 421, enhanced: "4.3.2" },
} as const satisfies Record<SubmissionRefusalCode, Reply>;

/** What the protocol itself answers, with the words that go with it. */
export const protocolReplies = {
  greeting: { code: 220, text: "" },
  hello: { code: 250, text: "" },
  challenge: { code: 334, text: "" },
  ok: { code: 250, enhanced: "2.0.0", text: "Ok" },
  help: { code: 214, enhanced: "2.0.0", text: "EHLO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY QUIT" },
  cannot_verify: {
    code: 252,
    enhanced: "2.0.0",
    text: "Cannot verify the address, but will take mail for it",
  },
  bye: { code: 221, enhanced: "2.0.0", text: "Bye" },
  start_tls: { code: 220, enhanced: "2.0.0", text: "Ready to start TLS" },
  authenticated: { code: 235, enhanced: "2.7.0", text: "Authentication successful" },
  sender_ok: { code: 250, enhanced: "2.1.0", text: "Sender ok" },
  recipient_ok: { code: 250, enhanced: "2.1.5", text: "Recipient ok" },
  send_data: { code: 354, text: "End data with <CR><LF>.<CR><LF>" },
  queued: { code: 250, enhanced: "2.0.0", text: "Ok: queued as" },
  line_invalid: {
    code: 500,
    enhanced: "5.5.2",
    text: "Commands end with CR LF and hold no control characters",
  },
  line_too_long: { code: 500, enhanced: "5.5.2", text: "Command line too long" },
  token_too_long: { code: 500, enhanced: "5.5.6", text: "Authentication line too long" },
  command_unknown: { code: 500, enhanced: "5.5.1", text: "Command not recognized" },
  command_not_implemented: { code: 502, enhanced: "5.5.1", text: "Command not implemented" },
  arguments_invalid: { code: 501, enhanced: "5.5.4", text: "Bad arguments" },
  base64_invalid: {
    code: 501,
    enhanced: "5.5.2",
    text: "Cannot decode the response: not base64 of the expected form",
  },
  authentication_cancelled: { code: 501, enhanced: "5.7.0", text: "Authentication cancelled" },
  mechanism_unknown: {
    code: 504,
    enhanced: "5.5.4",
    text: "Unknown authentication mechanism: use PLAIN or LOGIN",
  },
  parameter_unknown: { code: 555, enhanced: "5.5.4", text: "Parameter not recognized" },
  sequence_wrong: { code: 503, enhanced: "5.5.1", text: "Bad sequence of commands" },
  fault: { code: 451, enhanced: "4.3.0", text: "Cannot take the message now, try again later" },
} as const satisfies Record<string, Reply & { readonly text: string }>;

/** The name of a row of `protocolReplies`. */
export type ProtocolReply = keyof typeof protocolReplies;

/** The library's sentences and the row each of them should have been; a sentence not listed keeps its basic code. */
const libraryReplies: readonly (readonly [RegExp, ProtocolReply | SubmissionRefusalCode, string?])[] = [
  [/^Ready to start TLS$/, "start_tls"],
  [/^(OK|Flushed)$/, "ok"],
  [/^Bye$/, "bye"],
  [/^See https:/, "help"],
  [/^Try to send something/, "cannot_verify"],
  [/^HTTP requests not allowed$/, "too_many_errors", "This is not a web server"],
  [/^Error: command not recognized$/, "command_unknown"],
  [/^Error: send (HELO|LHLO)/, "sequence_wrong", "Say EHLO first"],
  [/authentication Required$/, "authentication_required", "Authentication required"],
  [/^Error: TLS already active$/, "sequence_wrong", "TLS is already active"],
  [/^Error: (syntax|Syntax): STARTTLS$/, "arguments_invalid", "STARTTLS takes no arguments"],
  [/^Error: Syntax: VRFY/, "arguments_invalid", "Give an address: VRFY address"],
  [/^Error: (syntax|Syntax): (EHLO|HELO)/, "arguments_invalid", "Give the name of your host"],
  [/^Error: Bad hostname syntax$/, "arguments_invalid", "That is not the name of a host"],
  [/^Error: internal server error$/, "fault"],
];

/** A sentence of the library as it should have been. */
export interface CorrectedReply {
  readonly reply: Reply;
  readonly text: string;
  /** The row's name. */
  readonly reason: string;
}

/** The right reply for a sentence of the library, so that every reply has its basic and enhanced code. */
export function correctedReply(code: number, text: string): CorrectedReply {
  const found = libraryReplies.find(([pattern]) => pattern.test(text));
  if (found === undefined) {
    const family = Math.floor(code / 100);
    return { reply: family === 3 ? { code } : { code, enhanced: `${family}.0.0` }, text, reason: "library" };
  }
  const [, row, words] = found;
  if (isProtocolRow(row)) {
    const known = protocolReplies[row];
    return { reply: known, text: words ?? known.text, reason: row };
  }
  return { reply: refusalReplies[row], text: words ?? text, reason: row };
}

function isProtocolRow(row: ProtocolReply | SubmissionRefusalCode): row is ProtocolReply {
  return row in protocolReplies;
}

/** The reply and the sentence for a refusal. */
export function refusalReply(refusal: Refusal): { readonly reply: Reply; readonly text: string } {
  const { code, message } = refusal;
  return { reply: isSubmissionRefusal(code) ? refusalReplies[code] : protocolReplies.fault, text: message };
}

/** One reply as it goes over the wire: every line coded, printable ASCII, at most 512 octets a line (RFC 5321 4.5.3.1.5). */
export function formatReply(reply: Reply, lines: readonly string[]): string {
  const enhanced = reply.enhanced === undefined ? "" : `${reply.enhanced} `;
  let text = "";
  for (let index = 0; index < lines.length; index++) {
    const separator = index === lines.length - 1 ? " " : "-";
    text += `${reply.code}${separator}${enhanced}${printable(lines[index] ?? "")}\r\n`;
  }
  return text;
}

function printable(text: string): string {
  // deno-lint-ignore no-control-regex -- control characters are what must go
  return text.replace(/[\x00-\x1f\x7f]+/g, " ").replace(/[^\x20-\x7e]/g, "?").slice(0, 490);
}
