import type { KeyObject } from "node:crypto";
import type { EspEvent } from "./event.ts";

/** A request that says it came from an email service. */
export interface WebhookRequest {
  readonly headers: Headers;
  /** As they arrived: signatures are over bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What a request says; nothing of it is proven yet. */
export interface WebhookReport {
  readonly events: readonly EspEvent[];
  /** Where the signature does not cover the content: what it does cover, to be believed with one content alone. */
  readonly onceToken?: string;
  /** The SNS topic that the report came by. */
  readonly topic?: string;
  /** To be fetched, once the request is proven, so that reports begin to come. */
  readonly confirmUrl?: URL;
}

/** The world as webhooks see it. */
export interface WebhookIo {
  readonly now: () => Date;
  /** The public key of a certificate of SNS, fetched from an URL that was checked; undefined when there is none. */
  readonly snsKey: (url: URL) => Promise<KeyObject | undefined>;
}

/** How one service reports what became of messages. */
export interface EspWebhook {
  /** Reads a request; undefined when it is no report of this service. Never throws for what it holds. */
  read(request: WebhookRequest): WebhookReport | undefined;
  /** Whether it provably came from the account with these settings, which its kind's schema has parsed. */
  verify(request: WebhookRequest, settings: unknown, io: WebhookIo): Promise<boolean>;
}

/** Events of one request that are looked at; no service sends more at once. */
export const mostEvents = 5000;

/** A request's body as JSON; undefined when it is none. */
export function jsonOf({ bytes }: WebhookRequest): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}

/** Whether a moment lies within these milliseconds before and 15 minutes behind now. */
export function isRecent(moment: Date, now: Date, longestMs: number): boolean {
  const age = now.getTime() - moment.getTime();
  return age <= longestMs && age >= -15 * 60_000;
}

/** A moment in seconds since 1970, when it is one that a date can hold and a database store. */
export function momentOf(seconds: unknown): Date | undefined {
  const number = typeof seconds === "string" && /^\d{1,12}$/.test(seconds) ? Number(seconds) : seconds;
  if (typeof number !== "number" || !(number > 0 && number < 100_000_000_000)) return undefined;
  return new Date(number * 1000);
}
