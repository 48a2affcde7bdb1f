import net from "node:net";
import { z } from "zod";
import type { RecipientId } from "../ids.ts";
import type { Recipient } from "../messages/message.ts";
import { droppedFields } from "../mime/header_edits.ts";
import { HeaderTooLong } from "../mime/outgoing.ts";
import { AddressNotAllowed } from "../network/guard.ts";
import type { CallBounds } from "../smtp/channel.ts";
import { SmtpClient } from "../smtp/client.ts";
import { SmtpFailure } from "../smtp/failure.ts";
import { outgoingMessage } from "../smtp/message_bytes.ts";
import type { OutgoingMessage } from "../smtp/message_bytes.ts";
import { SmtpPool } from "../smtp/pool.ts";
import { replyText } from "../smtp/reply.ts";
import type { Reply } from "../smtp/reply.ts";
import type { TransactionResult } from "../smtp/transaction.ts";
import { accountSecrets, accountSettings } from "./account_settings.ts";
import type { AccountCheck, Esp, EspIo, EspKind, GuardedAddress, Parcel } from "./esp.ts";
import type { CallReport, EspAnswer, RecipientOutcome } from "./outcome.ts";
import { planEnvelope } from "./smtp_envelope.ts";
import type { EnvelopePlan } from "./smtp_envelope.ts";
import {
  answerOf,
  isTooManyRecipients,
  outcomeOfFailure,
  outcomesOf,
  providerMessageId,
} from "./smtp_outcome.ts";

const endpointPattern = /^(\[[\da-f:.]+\]|[^:[\]/\s]+)(?::(\d{1,5}))?$/i;

const settings = z.strictObject({
  host: z.string().min(1).max(255).describe("Name or address of the relay"),
  port: z.int().min(1).max(65535).default(587).describe("Its port"),
  tls: z.enum(["starttls", "implicit", "opportunistic", "none"]).default("starttls")
    .describe(
      "`starttls` (required), `implicit` (from the first byte), `opportunistic` (if offered) or `none`",
    ),
  tls_verify: z.boolean().optional()
    .describe("Whether the certificate must be valid; by default everywhere but on loopback"),
  ca: z.string().max(100_000).optional().describe("PEM certificates to trust instead of the system's"),
  username: z.string().min(1).max(512).optional().describe("User of AUTH; goes with `password`"),
  password: z.string().min(1).max(4096).optional().describe("Password of AUTH"),
  name: z.string().regex(/^[\w.:[\]-]{1,255}$/).optional()
    .describe("What EHLO says; by default this host's address"),
  endpoint: z.string().max(300).regex(endpointPattern).refine(hasRightPort).optional().describe(
    "`host` or `host:port` to connect to in place of `host`, whose name the certificate must still carry",
  ),
  ...accountSettings,
}).refine((given) => (given.username === undefined) === (given.password === undefined), {
  message: "username and password go together",
});

function hasRightPort(endpoint: string): boolean {
  const port = Number(endpointPattern.exec(endpoint)?.[2] ?? 25);
  return port > 0 && port < 65536;
}

/** The settings of an SMTP relay. */
export type SmtpRelaySettings = z.output<typeof settings>;

/** Any server that takes mail by SMTP: the bytes go on as they are, Bcc and account-steering fields excepted. */
export const smtpRelay: EspKind<SmtpRelaySettings> = {
  name: "smtp",
  settings,
  secretKeys: [...accountSecrets, "password"],
  targetKeys: ["host", "port", "tls", "tls_verify", "ca", "endpoint"],
  open: (given, io) => new SmtpRelay(given, io),
};

/** One transaction takes this many recipients from every server (RFC 5321 section 4.5.3.1.8). */
const maxRecipients = 100;
const maxConnections = 20;
const poolLimits = { open: maxConnections, idleMs: 20_000, messages: 100 } as const;

class SmtpRelay implements Esp {
  readonly limits = { recipients: maxRecipients, bytes: Number.MAX_SAFE_INTEGER, parallel: maxConnections };
  readonly smtpUtf8 = true;
  readonly #settings: SmtpRelaySettings;
  readonly #io: EspIo;
  readonly #dropped: readonly string[];
  readonly #pool: SmtpPool;

  constructor(given: SmtpRelaySettings, io: EspIo) {
    this.#settings = given;
    this.#io = io;
    this.#dropped = droppedFields(given);
    this.#pool = new SmtpPool((bounds) => this.#open(bounds), poolLimits);
  }

  async deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport> {
    const deadline = performance.now() + this.#io.callTimeoutMs;
    const bounds = { deadline, answerDeadline: deadline + this.#io.answerTimeoutMs, signal };
    const report = new Report();
    try {
      const message = await readBody(parcel, this.#dropped);
      let rest = parcel.recipients;
      // A server may take fewer recipients at a time than we offer: the others follow at once.
      while (rest.length > 0) rest = await this.#transact(parcel, rest, message, report, bounds);
    } catch (error) {
      if (!(error instanceof SmtpFailure)) throw error;
      report.fail(parcel.recipients, error);
    }
    return report.asCallReport();
  }

  async check(signal: AbortSignal): Promise<AccountCheck> {
    try {
      const client = await this.#open({ deadline: performance.now() + this.#io.callTimeoutMs, signal });
      await client.quit();
      return { faults: [] };
    } catch (error) {
      if (!(error instanceof SmtpFailure)) throw error;
      const outcome = outcomeOfFailure(error);
      return { faults: outcome.kind === "accepted" ? [] : [outcome.fault] };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }

  /** Sends to as many as one transaction takes and answers the recipients who were too many for it. */
  async #transact(
    parcel: Parcel,
    recipients: readonly Recipient[],
    message: OutgoingMessage,
    report: Report,
    bounds: CallBounds,
  ): Promise<readonly Recipient[]> {
    let attempt = await this.#attempt(parcel, recipients, message, bounds, false);
    // A kept connection that had died meanwhile is replaced once: the server had not begun with the message.
    if (attempt.isStale) attempt = await this.#attempt(parcel, recipients, message, bounds, true);
    const { plan, result } = attempt;
    report.addRefused(plan.refused);
    if (result === undefined) return [];
    report.add(plan.recipients, result);
    const surplus = plan.recipients.filter((_, index) => isSurplus(result.recipients[index]));
    return result.answer === undefined || surplus.length === plan.recipients.length ? [] : surplus;
  }

  async #attempt(
    parcel: Parcel,
    recipients: readonly Recipient[],
    message: OutgoingMessage,
    bounds: CallBounds,
    isFresh: boolean,
  ): Promise<Attempt> {
    const client = await this.#pool.take(bounds, isFresh);
    const isReused = client.sent > 0;
    try {
      const plan = await planEnvelope(parcel.message, recipients, message, client);
      if (plan.recipients.length === 0) return { plan, isStale: false };
      const result = await client.send(plan.envelope, message, bounds);
      if (result.answer === undefined) await client.reset(resetLimit(bounds));
      return { plan, result, isStale: isReused && isUntouched(result) };
    } finally {
      this.#pool.give(client);
    }
  }

  async #open(bounds: CallBounds): Promise<SmtpClient> {
    const { tls, tls_verify, ca, name, username, password } = this.#settings;
    const { address, port, servername } = await this.#locate(bounds);
    return await SmtpClient.open({
      address,
      port,
      tls,
      verify: tls_verify ?? (ca !== undefined || !isLoopback(address)),
      ...(servername === undefined ? {} : { servername }),
      ...(ca === undefined ? {} : { ca }),
      ...(name === undefined ? {} : { name }),
      ...(username === undefined || password === undefined ? {} : { credentials: { username, password } }),
    }, bounds);
  }

  /** The address to call, checked, and the name to expect there. */
  async #locate(bounds: CallBounds): Promise<GuardedAddress & { readonly port: number }> {
    const { host, endpoint } = this.#settings;
    const found = endpointPattern.exec(endpoint ?? "");
    const port = Number(found?.[2] ?? this.#settings.port);
    const { address, servername } = await this.#guarded(found?.[1] ?? host, port, bounds);
    const expected = endpoint === undefined || net.isIP(bare(host)) !== 0 ? servername : host;
    return { address, port, ...(expected === undefined ? {} : { servername: expected }) };
  }

  async #guarded(host: string, port: number, bounds: CallBounds): Promise<GuardedAddress> {
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const end = () => reject(new SmtpFailure("aborted", "The call was ended"));
    const timer = setTimeout(
      () => reject(new SmtpFailure("dns_failed", `Cannot resolve ${host} in time`)),
      Math.max(1, bounds.deadline - performance.now()),
    );
    bounds.signal.addEventListener("abort", end);
    if (bounds.signal.aborted) end();
    try {
      return await Promise.race([this.#io.guard(host, port), ended]);
    } catch (error) {
      if (error instanceof SmtpFailure) throw error;
      const code = error instanceof AddressNotAllowed ? "address_not_allowed" : "dns_failed";
      const message = error instanceof Error ? error.message : String(error);
      throw new SmtpFailure(code, message, undefined, { cause: error });
    } finally {
      clearTimeout(timer);
      bounds.signal.removeEventListener("abort", end);
    }
  }
}

interface Attempt {
  readonly plan: EnvelopePlan;
  /** Absent when nobody was left to send to. */
  readonly result?: TransactionResult;
  readonly isStale: boolean;
}

/** The connection was lost before the server answered the first command. */
function isUntouched(result: TransactionResult): boolean {
  const code = result.failure?.code;
  return result.mail === undefined && (code === "connection_lost" || code === "service_closing");
}

function isSurplus(reply: Reply | undefined): boolean {
  return reply !== undefined && isTooManyRecipients(reply);
}

function resetLimit(bounds: CallBounds): CallBounds {
  return { ...bounds, deadline: performance.now() + 5000 };
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}

function bare(host: string): string {
  return host.replace(/^\[|\]$/g, "");
}

async function readBody(parcel: Parcel, dropped: readonly string[]): Promise<OutgoingMessage> {
  try {
    return await outgoingMessage(parcel.body, dropped);
  } catch (error) {
    if (error instanceof SmtpFailure) throw error;
    if (error instanceof HeaderTooLong) throw new SmtpFailure("header_too_long", error.message);
    throw new SmtpFailure("body_unreadable", `Cannot read body: ${String(error)}`, undefined, {
      cause: error,
    });
  }
}

/** Gathers what becomes of each recipient; a failure counts only for those of whom nothing is known yet. */
class Report {
  readonly #outcomes = new Map<RecipientId, RecipientOutcome>();
  #answer: EspAnswer | undefined;
  #messageId: string | undefined;

  add(recipients: readonly Recipient[], result: TransactionResult): void {
    const outcomes = outcomesOf(result);
    for (const [index, { id }] of recipients.entries()) {
      const outcome = outcomes[index];
      if (outcome !== undefined) this.#outcomes.set(id, outcome);
    }
    this.#answer ??= answerOf(result);
    if (result.answer?.code === 250) this.#messageId ??= providerMessageId(result.answer);
  }

  addRefused(refused: ReadonlyMap<RecipientId, RecipientOutcome>): void {
    for (const [id, outcome] of refused) this.#outcomes.set(id, outcome);
  }

  fail(recipients: readonly Recipient[], failure: SmtpFailure): void {
    const outcome = outcomeOfFailure(failure);
    for (const { id } of recipients) if (!this.#outcomes.has(id)) this.#outcomes.set(id, outcome);
    if (failure.reply !== undefined) {
      this.#answer ??= { code: failure.reply.code, excerpt: replyText(failure.reply) };
    }
  }

  asCallReport(): CallReport {
    return {
      recipients: this.#outcomes,
      ...(this.#answer === undefined ? {} : { answer: this.#answer }),
      ...(this.#messageId === undefined ? {} : { providerMessageId: this.#messageId }),
    };
  }
}
