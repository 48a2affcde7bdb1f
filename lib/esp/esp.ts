import type { z } from "zod";
import type { CallId } from "../ids.ts";
import type { Message, Recipient } from "../messages/message.ts";
import type { Body } from "../store/body.ts";
import type { CallReport, Fault } from "./outcome.ts";

/** The part of a message that goes by one provider in one call. */
export interface Parcel {
  /** Names the row (`delivery_logs`, status `started`) committed before the call is made. */
  readonly call: CallId;
  readonly message: Message;
  /** Never more than `limits.recipients`. */
  readonly recipients: readonly Recipient[];
  readonly body: Body;
}

/** One opened provider: a service with one account's settings. */
export interface Esp extends AsyncDisposable {
  readonly limits: { readonly recipients: number; readonly bytes: number; readonly parallel?: number };
  /** Never throws for what the service or the network did. */
  deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport>;
  /** Proves the credentials without sending mail; no faults means they work. */
  check(signal: AbortSignal): Promise<readonly Fault[]>;
}

/** Everything needed to support one email service; listed in catalog.ts. */
export interface EspKind<Settings> {
  readonly name: string;
  /** Validates, types `open`, and marks secrets with `secret()`. */
  readonly settings: z.ZodType<Settings>;
  /** Top-level settings that are sealed at rest and never shown. */
  readonly secretKeys: readonly string[];
  open(settings: Settings, io: EspIo): Esp;
}

/** The outside world as an ESP sees it. */
export interface EspIo {
  readonly fetch: typeof fetch;
  readonly now: () => Date;
  /** Resolves and checks a tenant-supplied host (ruling 3.14); throws when it may not be called. */
  readonly guard: (host: string, port: number) => Promise<GuardedAddress>;
  /** Longest time for one whole call, but for the answer to a message that was handed over. */
  readonly callTimeoutMs: number;
  /** How much longer that answer may take: without it nobody knows whether the message was sent. */
  readonly answerTimeoutMs: number;
  /** Where `stdout` writes; only in `development` does it show the text of a mail. */
  readonly print: (text: string) => void;
  readonly showText: boolean;
}

/** An address that was resolved and found allowed; connect to it and no other. */
export interface GuardedAddress {
  readonly address: string;
  /** The name to ask for in TLS; absent when the host was an address. */
  readonly servername?: string;
}
