import { Buffer } from "node:buffer";
import { type MessageId, newId } from "../../lib/ids.ts";
import type { ClientTrace, EnvelopeRecipient, Submission } from "../../lib/messages/message.ts";
import type { HeaderFacts } from "../../lib/mime/headers.ts";
import type { Mailbox } from "../../lib/mime/address.ts";
import { Refusal } from "../../lib/refusal.ts";
import { startSpan } from "../../lib/telemetry/tracing.ts";
import { CommandError, type MailCommand } from "./commands.ts";
import { DataPhase } from "./data_phase.ts";
import { type AccountPolicy, type Gate, type Identity, type Intake, letsIn } from "./intake.ts";
import { missingFields, receivedField } from "./received.ts";
import type { Login } from "./sasl.ts";
import { describeAllowed, maySendFrom } from "./sender_policy.ts";

/** The limits and rules that every session keeps. */
export interface SessionRules {
  /** Our own name, in the greeting, in Received and in Message-ID. */
  readonly hostname: string;
  readonly maxMessageSize: number;
  readonly maxHeaderSize: number;
  readonly maxRecipients: number;
  /** A message with more Received fields is going round in circles. */
  readonly maxReceived: number;
  readonly requireGroupDomains: boolean;
  readonly received: "full" | "brief";
}

/** What a session works with. */
export interface SessionParts {
  readonly gate: Gate;
  readonly intake: Intake;
  readonly rules: SessionRules;
  readonly now: () => Date;
}

/** The client as the connection knows it now. */
export interface Client extends ClientTrace {
  readonly saidEhlo: boolean;
}

/** A message on its way in: its bytes go to `phase`, then the whole goes to `Session.accept`. */
export interface Draft {
  readonly phase: DataPhase;
  readonly envelope: Omit<Submission, "body" | "contentHash" | "headers">;
  /** Gives the reserved memory back; may be called more than once. */
  release(): void;
}

/** One client's session: who it is, what it may send, and the transaction it is in. Throws Refusal or CommandError. */
export class Session {
  readonly #parts: SessionParts;
  readonly #correlationId: string;
  readonly #span = startSpan("smtp session");
  #identity: Identity | undefined;
  /** Where the client logged in from. */
  #address = "";
  #policy: AccountPolicy | undefined;
  #mail: MailCommand | undefined;
  #recipients = new Map<string, EnvelopeRecipient>();

  constructor(parts: SessionParts, correlationId: string) {
    this.#parts = parts;
    this.#correlationId = correlationId;
  }

  /** Undefined before AUTH has succeeded. */
  get identity(): Identity | undefined {
    return this.#identity;
  }

  /** MAIL was accepted and its DATA has not begun. */
  get isInTransaction(): boolean {
    return this.#mail !== undefined;
  }

  /** The envelope sender of the transaction; undefined outside of one, and for the null sender. */
  get sender(): string | undefined {
    return this.#mail?.sender?.address;
  }

  /** Joins all that is told of the session. */
  get correlationId(): string {
    return this.#correlationId;
  }

  /** The transaction said SMTPUTF8. */
  get isUtf8(): boolean {
    return this.#mail?.smtpUtf8 ?? false;
  }

  /** AUTH: remembers who it is. */
  async logIn(login: Login, address: string): Promise<void> {
    const identity = await this.#parts.gate.authenticate(login.username, login.password, address);
    if (login.actFor !== undefined) {
      throw new Refusal("credentials_wrong", "Authentication failed: accounts act for themselves alone");
    }
    this.#identity = identity;
    this.#address = address;
  }

  /** Forgets the client, as STARTTLS demands (RFC 3207 section 4.2). */
  logOut(): void {
    this.#identity = undefined;
    this.reset();
  }

  /** Forgets the transaction. */
  reset(): void {
    this.#mail = undefined;
    if (this.#recipients.size > 0) this.#recipients = new Map();
  }

  /** MAIL: reads the account's policy anew, so that a change counts at once (ruling 3.17). */
  async mailFrom(mail: MailCommand): Promise<void> {
    const identity = this.#authenticated();
    const { gate, intake, rules } = this.#parts;
    if (mail.size !== undefined && mail.size > rules.maxMessageSize) {
      throw new Refusal(
        "message_too_large",
        `Message is larger than the limit of ${rules.maxMessageSize} bytes`,
      );
    }
    const policy = await gate.policyOf(identity.user);
    if (policy === undefined || policy.isSuspended) {
      gate.forget(identity);
      throw new Refusal("account_suspended", `Account "${identity.username}" may not send mail`);
    }
    if (!letsIn(policy.allowedNetworks, this.#address)) {
      gate.forget(identity);
      throw new Refusal("session_expired", "Address may not send mail any more: connect from an allowed one");
    }
    if (policy.revision !== identity.revision) {
      gate.forget(identity);
      throw new Refusal("session_expired", "Account has changed: connect and authenticate again");
    }
    if (mail.sender !== undefined) {
      this.#requireDomain("sender_domain_not_allowed", mail.sender, "Sender", policy);
    }
    if (policy.quotaReached !== undefined) throw policy.quotaReached;
    await intake.ready(identity);
    this.#policy = policy;
    this.#mail = mail;
  }

  /** The transaction's MAIL; throws when there is none. */
  requireMail(): MailCommand {
    if (this.#mail !== undefined) return this.#mail;
    throw new CommandError("sequence_wrong", "Say MAIL FROM first");
  }

  /** RCPT: an address named before is accepted again and kept once. */
  rcptTo(recipient: EnvelopeRecipient): void {
    this.requireMail();
    const { maxRecipients } = this.#parts.rules;
    if (this.#recipients.has(recipient.address)) return;
    if (this.#recipients.size >= maxRecipients) {
      throw new Refusal(
        "too_many_recipients",
        `Message has more than ${maxRecipients} recipients: send the rest in another`,
      );
    }
    this.#recipients.set(recipient.address, recipient);
  }

  /** DATA: waits for memory, then the message may come. The transaction's state moves into the draft. */
  async openData(client: Client, signal: AbortSignal): Promise<Draft> {
    const identity = this.#authenticated();
    const mail = this.requireMail();
    const policy = this.#policy;
    if (this.#recipients.size === 0 || policy === undefined) {
      throw new CommandError("sequence_wrong", "No recipients specified");
    }
    // A client may send more than it declared, up to the limit.
    const { intake, rules } = this.#parts;
    const memory = await intake.reserveMemory(rules.maxMessageSize, signal, identity.group);
    const { saidEhlo: _, ...trace } = client;
    const envelope: Draft["envelope"] = {
      id: newId<MessageId>(),
      group: identity.group,
      user: identity.user,
      mailFrom: mail.sender?.address ?? "",
      recipients: [...this.#recipients.values()],
      client: trace,
      eightBit: mail.eightBit,
      smtpUtf8: mail.smtpUtf8,
      correlationId: this.#correlationId,
      ...(mail.dsnReturn === undefined ? {} : { dsnReturn: mail.dsnReturn }),
      ...(mail.envelopeId === undefined ? {} : { envelopeId: mail.envelopeId }),
    };
    const phase = this.#phase(envelope, policy, client.saidEhlo);
    this.reset();
    return { phase, envelope, release: onlyOnce(() => memory[Symbol.dispose]()) };
  }

  /** The end of DATA: durable when it resolves, with the id to answer. */
  async accept(draft: Draft): Promise<{ readonly id: MessageId; readonly size: number }> {
    const span = startSpan("smtp accept", { parent: this.#span });
    span?.set({ "message.id": draft.envelope.id, "correlation.id": this.#correlationId });
    try {
      const { body, contentHash, facts, size } = await draft.phase.finish();
      await using kept = body;
      const from = facts.from?.[0]?.address;
      const headers = {
        ...(facts.subject === undefined ? {} : { subject: facts.subject }),
        ...(from === undefined ? {} : { from }),
        ...(facts.messageId === undefined || facts.messageId === "" ? {} : { messageId: facts.messageId }),
      };
      const submission = { ...draft.envelope, body: kept, contentHash, headers };
      const id = await this.#parts.intake.accept(
        span === undefined ? submission : { ...submission, traceparent: span.traceparent },
      );
      return { id, size };
    } catch (error) {
      span?.fail(error);
      throw error;
    } finally {
      span?.end();
      draft.release();
    }
  }

  /** The connection is gone. */
  end(): void {
    this.#span?.end();
  }

  /** The client left in the middle of DATA. */
  async abandon(draft: Draft): Promise<void> {
    try {
      await draft.phase.abort();
    } finally {
      draft.release();
    }
  }

  #phase(envelope: Draft["envelope"], policy: AccountPolicy, saidEhlo: boolean): DataPhase {
    const { rules, intake, now } = this.#parts;
    const passage = {
      ...envelope.client,
      id: envelope.id,
      by: rules.hostname,
      saidEhlo,
      smtpUtf8: envelope.smtpUtf8,
      recipients: envelope.recipients.map((recipient) => recipient.address),
      at: now(),
    };
    return new DataPhase({
      maxSize: rules.maxMessageSize,
      maxHeader: rules.maxHeaderSize,
      lineEndings: policy.lineEndings,
      open: (facts) => {
        this.#judgeHeader(facts, policy);
        const added = missingFields({ date: facts.hasDate, messageId: facts.hasMessageId }, passage);
        const { id, group, user, mailFrom } = envelope;
        const prefix = Buffer.from(receivedField(passage, rules.received) + added);
        return intake.begin({ id, group, user, mailFrom, recipients: passage.recipients }, prefix);
      },
    });
  }

  #judgeHeader(facts: HeaderFacts, policy: AccountPolicy): void {
    if (facts.brokenLine !== undefined) {
      throw new Refusal("headers_invalid", `Header line ${facts.brokenLine} is not a header field`);
    }
    if (facts.received > this.#parts.rules.maxReceived) {
      throw new Refusal(
        "mail_loop",
        `Message has passed more than ${this.#parts.rules.maxReceived} servers: mail loop`,
      );
    }
    if (facts.fromFields !== 1) {
      throw new Refusal("headers_invalid", `Message must have one From field: it has ${facts.fromFields}`);
    }
    if (facts.from === undefined || facts.from.length === 0) {
      throw new Refusal("headers_invalid", "From field holds no address that can be read for certain");
    }
    for (const mailbox of facts.from) this.#requireDomain("from_domain_not_allowed", mailbox, "From", policy);
  }

  #requireDomain(
    code: "sender_domain_not_allowed" | "from_domain_not_allowed",
    mailbox: Mailbox,
    what: string,
    policy: AccountPolicy,
  ): void {
    if (maySendFrom(mailbox.domain, policy, this.#parts.rules.requireGroupDomains)) return;
    const allowed = describeAllowed(policy.allowedDomains);
    throw new Refusal(code, `${what} domain not allowed: "${mailbox.domain}" is not one of: ${allowed}`);
  }

  #authenticated(): Identity {
    if (this.#identity !== undefined) return this.#identity;
    throw new Refusal("authentication_required", "Authentication required");
  }
}

function onlyOnce(action: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) action();
    isDone = true;
  };
}
