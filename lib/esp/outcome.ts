import type { RecipientId } from "../ids.ts";

/** Why a call did not end well for a recipient. */
export interface Fault {
  /** What must change before another try can succeed. Only "provider" trips breakers and falls back. */
  readonly blame: "message" | "provider";
  /** Stable and of low cardinality, e.g. `http_429`, `timeout`; labels metrics and delivery logs. */
  readonly code: string;
  /** For people: what the service said, without secrets, at most 500 characters. */
  readonly detail: string;
}

/** How a call ended for one recipient. */
export type RecipientOutcome =
  | { readonly kind: "accepted" }
  /** Spends an attempt. */
  | { readonly kind: "retry"; readonly fault: Fault; readonly afterMs?: number }
  /** Throttled, credentials, configuration: spends none (ruling 3.4). */
  | { readonly kind: "wait"; readonly cause: WaitCause; readonly fault: Fault; readonly afterMs?: number }
  | { readonly kind: "refused"; readonly fault: Fault }
  /** The request left and no answer came: it may or may not have been sent (ruling 3.12). */
  | { readonly kind: "unknown"; readonly fault: Fault };

/**
 * What a waiting recipient waits for: room, a repaired account, leave for this message's sender (or to this recipient,
 * while an account may not write to everybody), or something to be switched on again. `sender` says nothing of other
 * mail: an account serves whoever else may send by it.
 */
export type WaitCause = "throttled" | "credentials" | "configuration" | "sender" | "unavailable";

/** How one call ended, for every recipient of its parcel and no other. A value, never thrown. */
export interface CallReport {
  readonly recipients: ReadonlyMap<RecipientId, RecipientOutcome>;
  readonly providerMessageId?: string;
  readonly answer?: EspAnswer;
}

/** What the service said, for the delivery log: bounded and without secrets. */
export interface EspAnswer {
  readonly code?: number;
  readonly espCode?: string;
  readonly requestId?: string;
  readonly excerpt: string;
}
