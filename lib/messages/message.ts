import type { GroupId, MessageId, RecipientId, UserId } from "../ids.ts";
import type { Body } from "../store/body.ts";

/** In a named store, or inline in PostgreSQL when that store was down at ingestion. */
export type StorageRef = `local:${string}` | `s3:${string}` | "inline";

/** Where a message can be on its way; `delivered` means taken by the ESP (ruling 1.13). */
export const messageStatuses = [
  "queued",
  "processing",
  "delivered",
  "failed",
  "enqueue_failed",
  "storage_error",
  "cancelled",
] as const;
/** One of these. */
export type MessageStatus = (typeof messageStatuses)[number];

/** Why a message is `failed`. */
export type FailureCode =
  | "refused"
  | "exhausted"
  | "expired"
  | "unknown"
  | "crashed"
  | "cancelled"
  | "restored";

/** What is known of one recipient; `delivered` needs the ESP's report, `accepted` only its answer. */
export type RecipientStatus =
  | "pending"
  | "accepted"
  | "delivered"
  | "deferred"
  | "bounced"
  | "complained"
  | "refused"
  | "suppressed"
  | "failed"
  | "unknown"
  | "cancelled";

/** One envelope address as the client named it, with its DSN parameters (RFC 3461). */
export interface EnvelopeRecipient {
  readonly address: string;
  /** NOTIFY as given, e.g. `SUCCESS,FAILURE`. */
  readonly notify?: string;
  /** ORCPT as given, e.g. `rfc822;a@example.org`. */
  readonly originalRecipient?: string;
}

/** The client's side of the session that brought a message. */
export interface ClientTrace {
  readonly address: string;
  readonly helo: string;
  /** Protocol and cipher, e.g. `TLSv1.3 TLS_AES_256_GCM_SHA384`; absent without TLS. */
  readonly tls?: string;
}

/** The few header values that are kept beside the body; text, bounded, storable (no NUL). */
export interface KeptHeaders {
  readonly subject?: string;
  /** The address in From, without display name. */
  readonly from?: string;
  /** As the client gave it, angle brackets included; absent when the client gave none and we made one. */
  readonly messageId?: string;
}

/** What a client handed us: everything that is needed to store a message and answer 250. */
export interface Submission {
  readonly id: MessageId;
  readonly group: GroupId;
  readonly user: UserId;
  /** Envelope sender; empty for the null sender `<>`. */
  readonly mailFrom: string;
  /** Distinct, in the order given. */
  readonly recipients: readonly EnvelopeRecipient[];
  /** The bytes to deliver: our Received field, then the client's bytes. */
  readonly body: Body;
  /** SHA-256 of the bytes as the client sent them, without what we added. */
  readonly contentHash: Uint8Array;
  readonly headers: KeptHeaders;
  readonly client: ClientTrace;
  /** BODY=8BITMIME or SMTPUTF8 were used (RFC 6152, RFC 6531). */
  readonly eightBit: boolean;
  readonly smtpUtf8: boolean;
  /** RET and ENVID (RFC 3461). */
  readonly dsnReturn?: "FULL" | "HDRS";
  readonly envelopeId?: string;
  /** Joins all log lines of one SMTP session. */
  readonly correlationId: string;
  readonly traceparent?: string;
}

/** One recipient who is still to be served. */
export interface Recipient {
  readonly id: RecipientId;
  readonly address: string;
  readonly notify?: string;
  readonly originalRecipient?: string;
  /** Attempts already spent on this recipient. */
  readonly attempts: number;
  /** How long it was put off the last time, for waits that grow. */
  readonly lastDelayMs?: number;
  /** What it was put off for then, when no attempt was spent: `throttled`, `breaker_open`. */
  readonly lastCause?: string;
}

/** What we answered 250 for, as the worker that claimed it sees it. */
export interface Message {
  readonly id: MessageId;
  readonly group: GroupId;
  readonly user: UserId;
  readonly mailFrom: string;
  /** The envelope recipients due now; headers never decide who gets the mail. */
  readonly recipients: readonly Recipient[];
  readonly storageRef: StorageRef;
  readonly size: number;
  readonly smtpUtf8: boolean;
  readonly eightBit: boolean;
  readonly dsnReturn?: "FULL" | "HDRS";
  readonly envelopeId?: string;
  readonly correlationId: string;
  /** Of the span in which it was accepted, where that was traced (W3C Trace Context). */
  readonly traceparent?: string;
  /** When it was accepted, milliseconds since 1970. */
  readonly acceptedAtMs: number;
}
