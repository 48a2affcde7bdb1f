import { z } from "zod";
import type { Recipient } from "../messages/message.ts";
import { asciiAddress, normalDomain } from "../mime/address.ts";
import { droppedFields } from "../mime/header_edits.ts";
import { readHeader } from "../mime/headers.ts";
import { openOutgoing } from "../mime/outgoing.ts";
import type { Outgoing } from "../mime/outgoing.ts";
import { accountSecrets, accountSettings, httpEndpoint } from "./account_settings.ts";
import type { AccountCheck, Esp, EspIo, EspKind, Parcel } from "./esp.ts";
import type { HttpResult } from "./http.ts";
import { answerOf } from "./http_outcome.ts";
import { messageForm } from "./mailgun_form.ts";
import type { FormField } from "./mailgun_form.ts";
import { isRecipientFault, mailgunId, mailgunWords, outcomeOfMailgun } from "./mailgun_outcome.ts";
import { mailgunWebhook, mailgunWebhookSettings } from "./mailgun_webhook.ts";
import type { CallReport, RecipientOutcome } from "./outcome.ts";
import { sendApart } from "./send_apart.ts";
import type { PartReport } from "./send_apart.ts";
import { callService, outcomeOfUnreadable, reportOf } from "./whole_parcel.ts";

const settings = z.strictObject({
  ...accountSettings,
  endpoint: httpEndpoint,
  api_key: z.string().regex(/^[\x21-\x7e]{1,512}$/).describe("An account's key or a domain's sending key"),
  domain: z.string().max(253).transform((given, context) => {
    const domain = normalDomain(given);
    if (domain === undefined) context.addIssue({ code: "custom", message: "It is not a domain name" });
    return domain ?? z.NEVER;
  }).describe("The domain that Mailgun sends for"),
  webhook: mailgunWebhookSettings.optional().describe("`signing_key`: the HTTP webhook signing key"),
  region: z.enum(["us", "eu"]).default("us").describe("Where the domain lives"),
});

/** The settings of Mailgun. */
export type MailgunSettings = z.output<typeof settings>;

/** Mailgun: takes the message as it is and its recipients beside it. */
export const mailgun: EspKind<MailgunSettings> = {
  name: "mailgun",
  settings,
  secretKeys: [...accountSecrets, "api_key"],
  targetKeys: ["endpoint"],
  webhook: mailgunWebhook,
  open: (given, io) => new Mailgun(given, io),
};

const hosts = { us: "https://api.mailgun.net/", eu: "https://api.eu.mailgun.net/" } as const;

class Mailgun implements Esp {
  readonly limits = { recipients: 1000, bytes: 25 * 1024 * 1024, parallel: 20 };
  readonly memoryPerByte = 2;
  readonly smtpUtf8 = false;
  readonly #settings: MailgunSettings;
  readonly #io: EspIo;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(given: MailgunSettings, io: EspIo) {
    this.#settings = given;
    this.#io = io;
    this.#headers = {
      authorization: `Basic ${new TextEncoder().encode(`api:${given.api_key}`).toBase64()}`,
      accept: "application/json",
    };
  }

  async deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport> {
    let message: Outgoing;
    try {
      signal.throwIfAborted();
      message = await openOutgoing(parcel.body, { dropped: droppedFields(this.#settings) });
    } catch (error) {
      return reportOf(parcel, outcomeOfUnreadable(error, signal));
    }
    const obstacle = senderObstacle(message.header);
    if (obstacle !== undefined) return reportOf(parcel, obstacle);
    return await sendApart(parcel.recipients, (some) => this.#send(parcel, some, message, signal));
  }

  async check(signal: AbortSignal): Promise<AccountCheck> {
    const result = await this.#call("GET", `v4/domains/${this.#settings.domain}`, signal);
    // A domain's sending key may do nothing but send: an empty message proves it, and is sent to nobody.
    if (result.kind === "answered" && (result.status === 401 || result.status === 403)) {
      return await this.#checkSending(signal);
    }
    const state = result.kind === "answered" && result.status === 200 ? stateOf(result.json) : undefined;
    if (state === "active") return { faults: [], domains: [this.#settings.domain] };
    if (state !== undefined) {
      const detail = `Mailgun says that ${this.#settings.domain} is ${state}`;
      return { faults: [{ blame: "provider", code: "domain_not_active", detail }], domains: [] };
    }
    return { faults: faultsOf(this.#outcomeOf(result)) };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async #checkSending(signal: AbortSignal): Promise<AccountCheck> {
    const body = new TextEncoder().encode("o:testmode=yes");
    const result = await this.#call("POST", `v3/${this.#settings.domain}/messages.mime`, signal, {
      contentType: "application/x-www-form-urlencoded",
      body,
    });
    const isMissing = result.kind === "answered" && result.status === 400 &&
      /parameter|is missing|required/i.test(mailgunWords(result) ?? "");
    return { faults: isMissing ? [] : faultsOf(this.#outcomeOf(result)) };
  }

  /** One request for these recipients. */
  async #send(
    parcel: Parcel,
    recipients: readonly Recipient[],
    message: Outgoing,
    signal: AbortSignal,
  ): Promise<PartReport> {
    let result: HttpResult;
    try {
      const form = await messageForm(fieldsOf(parcel, recipients), message);
      result = await this.#call("POST", `v3/${this.#settings.domain}/messages.mime`, signal, form);
    } catch (error) {
      return {
        ...reportOf(parcel, outcomeOfUnreadable(error, signal), {}, recipients),
        isRecipientFault: false,
      };
    }
    const id = mailgunId(result);
    const answer = result.kind === "answered" ? { answer: answerOf(result, this.#secrets()) } : {};
    const more = { ...answer, ...(id === undefined ? {} : { providerMessageId: id }) };
    return {
      ...reportOf(parcel, this.#outcomeOf(result), more, recipients),
      isRecipientFault: isRecipientFault(result),
    };
  }

  #call(
    method: "GET" | "POST",
    path: string,
    signal: AbortSignal,
    form?: { readonly contentType: string; readonly body: Uint8Array },
  ): Promise<HttpResult> {
    const { endpoint, region } = this.#settings;
    const base = endpoint === undefined ? hosts[region] : endpoint.replace(/\/*$/, "/");
    return callService(
      this.#io,
      {
        method,
        url: new URL(path, base),
        headers: form === undefined ? this.#headers : { ...this.#headers, "content-type": form.contentType },
        ...(form === undefined ? {} : { body: form.body, sendsMail: true }),
      },
      signal,
      endpoint !== undefined,
    );
  }

  #outcomeOf(result: HttpResult): RecipientOutcome {
    return outcomeOfMailgun(result, this.#io.now(), this.#secrets());
  }

  #secrets(): readonly string[] {
    return [this.#settings.api_key, `api:${this.#settings.api_key}`];
  }
}

/** Nobody is told of the others: each recipient is a field of the form, and none becomes a header. */
function fieldsOf(parcel: Parcel, recipients: readonly Recipient[]): readonly FormField[] {
  return [
    ...recipients.map(({ address }) => ({ name: "to", value: address })),
    { name: "v:message-id", value: parcel.message.id },
    { name: "v:call-id", value: parcel.call },
    // Variables would be shown to every recipient otherwise.
    { name: "o:suppress-headers", value: "X-Mailgun-Variables" },
  ];
}

/** Mailgun takes a message from an address that needs SMTPUTF8, and then cannot deliver it. */
function senderObstacle(header: Uint8Array): RecipientOutcome | undefined {
  const sender = readHeader(header).from?.find(({ address }) => asciiAddress(address) === undefined);
  if (sender === undefined) return undefined;
  const detail = `mailgun cannot send from ${sender.address}: it needs SMTPUTF8`;
  return { kind: "refused", fault: { blame: "message", code: "smtputf8_unsupported", detail } };
}

function faultsOf(outcome: RecipientOutcome): AccountCheck["faults"] {
  return outcome.kind === "accepted" ? [] : [outcome.fault];
}

function stateOf(json: unknown): string | undefined {
  const found = domainState.safeParse(json);
  if (!found.success) return undefined;
  return found.data.domain.is_disabled === true ? "disabled" : found.data.domain.state;
}

const domainState = z.object({
  domain: z.object({ state: z.string().max(100), is_disabled: z.boolean().optional() }),
});
