import type { z } from "zod";
import type { CredentialSource, CredentialWish } from "../aws/credentials.ts";
import type { CallId } from "../ids.ts";
import type { Message, Recipient } from "../messages/message.ts";
import type { Body } from "../store/body.ts";
import type { CallReport, Fault } from "./outcome.ts";
import type { EspWebhook } from "./webhook.ts";

/** The part of a message that goes by one provider in one call. */
export interface Parcel {
  /** Names the row (`delivery_logs`, status `started`) committed before the call is made. */
  readonly call: CallId;
  readonly message: Message;
  /** Never more than `limits.recipients`; all ASCII where the ESP does not take SMTPUTF8. */
  readonly recipients: readonly Recipient[];
  readonly body: Body;
}

/** How much an ESP takes at a time. */
export interface EspLimits {
  readonly recipients: number;
  /** Of the raw message; a larger one is refused before the ESP is asked. */
  readonly bytes: number;
  readonly parallel?: number;
}

/** One opened provider: a service with one account's settings. */
export interface Esp extends AsyncDisposable {
  readonly limits: EspLimits;
  /** Bytes held at the same time for each byte of a body, all copies counted; absent when large bodies are streamed. */
  readonly memoryPerByte?: number;
  /** Whether it may be given addresses that need SMTPUTF8 (RFC 6531): it sends them, or refuses them with the reason. */
  readonly smtpUtf8: boolean;
  /** Never throws for what the service or the network did. */
  deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport>;
  /** Proves the credentials without sending mail; never throws for what the service or the network did. */
  check(signal: AbortSignal): Promise<AccountCheck>;
  /**
   * Removes what calls of a process that died have left at the service, and answers how much that was; asked now and
   * then. Throws when it cannot be done now.
   */
  cleanUp?(signal: AbortSignal): Promise<number>;
}

/** What a service says about an account. */
export interface AccountCheck {
  /** None means that the credentials work. */
  readonly faults: readonly Fault[];
  /** Domains the service has verified for sending, lower-case A-labels; absent where it does not tell. */
  readonly domains?: readonly string[];
}

/** Everything needed to support one email service; listed in catalog.ts. */
export interface EspKind<Settings> {
  readonly name: string;
  /** Validates and types `open`; each field describes itself for the documentation. */
  readonly settings: z.ZodType<Settings>;
  /** Top-level settings that are sealed at rest and never shown. */
  readonly secretKeys: readonly string[];
  /**
   * Settings that say whom the secrets are sent to and how safely: whoever changes one gives the secrets anew, so that
   * nobody has what they cannot read sent to themselves. The service's own hosts, by region, are one.
   */
  readonly targetKeys: readonly string[];
  /** How the service reports what became of messages; absent where it does not. */
  readonly webhook?: EspWebhook;
  /** Throws when these settings cannot be used here. */
  open(settings: Settings, io: EspIo): Esp;
}

/** The outside world as an ESP sees it. */
export interface EspIo {
  readonly fetch: typeof fetch;
  readonly now: () => Date;
  /** Resolves and checks a tenant-supplied host of a relay (ruling 3.14); throws when it may not be called. */
  readonly guard: (host: string, port: number) => Promise<GuardedAddress>;
  /**
   * Checks a tenant-supplied `endpoint` that is about to be called by HTTP; throws `AddressNotAllowed` when one of its
   * addresses may not be called, anything else when its name cannot be resolved.
   */
  readonly guardEndpoint: (url: URL) => Promise<void>;
  /** Longest time for one whole call, but for the answer to a message that was handed over. */
  readonly callTimeoutMs: number;
  /** How much longer that answer may take: without it nobody knows whether the message was sent. */
  readonly answerTimeoutMs: number;
  /** Calls `end` after a time in ms unless its answer is called before that; `setTimeout` when it is left out. */
  readonly after?: (ms: number, end: () => void) => () => void;
  /** Where `stdout` writes; only in `development` does it show the text of a mail. */
  readonly print: (text: string) => void;
  readonly showText: boolean;
  /** The folder below which `file` may write; absent where that is not allowed. */
  readonly mailFolder?: string;
  /** Opens AWS credentials (ruling 1.17); absent where only `static` ones without a role can be had. */
  readonly credentials?: (wish: CredentialWish) => CredentialSource;
}

/** An address that was resolved and found allowed; connect to it and no other. */
export interface GuardedAddress {
  readonly address: string;
  /** The name to ask for in TLS; absent when the host was an address. */
  readonly servername?: string;
}
