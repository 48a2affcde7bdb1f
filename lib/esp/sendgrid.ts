import { z } from "zod";
import type { RecipientId } from "../ids.ts";
import type { Recipient } from "../messages/message.ts";
import { normalDomain } from "../mime/address.ts";
import { droppedFields } from "../mime/header_edits.ts";
import { openOutgoing } from "../mime/outgoing.ts";
import { parseMessage } from "../mime/parse.ts";
import { TooManyParts } from "../mime/parts.ts";
import { sameAddress } from "../mime/recipient_fields.ts";
import { accountSecrets, accountSettings, httpEndpoint } from "./account_settings.ts";
import type { AccountCheck, Esp, EspIo, EspKind, Parcel } from "./esp.ts";
import type { HttpAnswer, HttpResult } from "./http.ts";
import { answerOf } from "./http_outcome.ts";
import type { Hearing } from "./http_outcome.ts";
import type { CallReport, EspAnswer, Fault, RecipientOutcome } from "./outcome.ts";
import { sendgridMail } from "./sendgrid_mail.ts";
import type { SendgridMail } from "./sendgrid_mail.ts";
import { errorsOf, outcomeOfSendgrid, sendgridId } from "./sendgrid_outcome.ts";
import { addressAt, planPersonalizations } from "./sendgrid_recipients.ts";
import type { Personalization } from "./sendgrid_recipients.ts";
import { callService, outcomeOfUnreadable, reportOf } from "./whole_parcel.ts";

const settings = z.strictObject({
  ...accountSettings,
  endpoint: httpEndpoint,
  api_key: z.string().regex(/^[\x21-\x7e]{1,512}$/).describe("A key that may send mail (`mail.send`)"),
  region: z.enum(["global", "eu"]).default("global").describe("`eu` for subusers whose data stays there"),
});

/** The settings of SendGrid. */
export type SendgridSettings = z.output<typeof settings>;

/** SendGrid (API version 3): takes no message as it is, so it is taken apart and said again in the API's words. */
export const sendgrid: EspKind<SendgridSettings> = {
  name: "sendgrid",
  settings,
  secretKeys: [...accountSecrets, "api_key"],
  open: (given, io) => new Sendgrid(given, io),
};

const hosts = { global: "https://api.sendgrid.com/", eu: "https://api.eu.sendgrid.com/" } as const;
/** After as many requests in which SendGrid names addresses that it does not take, the others are tried again later. */
const mostRequests = 4;

class Sendgrid implements Esp {
  readonly limits = { recipients: 1000, bytes: 30_000_000 };
  readonly memoryPerByte = 4;
  readonly smtpUtf8 = false;
  readonly #settings: SendgridSettings;
  readonly #io: EspIo;

  constructor(given: SendgridSettings, io: EspIo) {
    this.#settings = given;
    this.#io = io;
  }

  async deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport> {
    let mail: SendgridMail | undefined;
    try {
      signal.throwIfAborted();
      mail = await this.#read(parcel);
    } catch (error) {
      return reportOf(parcel, outcomeOfUnusable(error, signal));
    }
    if (mail === undefined) return reportOf(parcel, senderMissing);
    return await this.#send(parcel.recipients, mail, signal);
  }

  async check(signal: AbortSignal): Promise<AccountCheck> {
    const result = await this.#call("GET", "v3/scopes", signal);
    const scopes = result.kind === "answered" && result.status === 200 ? scopesOf(result) : undefined;
    if (scopes === undefined) return { faults: faultsOf(this.#outcomeOf(result)) };
    if (!scopes.includes("mail.send")) return { faults: [scopeMissing] };
    const domains = scopes.includes("whitelabel.read") ? await this.#domains(signal) : undefined;
    return { faults: [], ...(domains === undefined ? {} : { domains }) };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async #read({ body, message, call }: Parcel): Promise<SendgridMail | undefined> {
    const bytes = await (await openOutgoing(body, { dropped: [] })).bytes();
    return sendgridMail(await parseMessage(bytes), {
      message,
      customArgs: { "message-id": message.id, "call-id": call },
      dropped: droppedFields(this.#settings),
      passControls: this.#settings.pass_control_headers === true,
    });
  }

  /** Sends to all, and again to the others where SendGrid refuses all for the sake of some addresses that it names. */
  async #send(
    recipients: readonly Recipient[],
    mail: SendgridMail,
    signal: AbortSignal,
  ): Promise<CallReport> {
    const outcomes = new Map<RecipientId, RecipientOutcome>();
    let rest = recipients;
    for (let count = 1;; count++) {
      const plan = planPersonalizations(rest, mail.to, mail.cc);
      const result = await this.#call("POST", "v3/mail/send", signal, await mail.json(plan));
      const outcome = this.#outcomeOf(result);
      const named = outcome.kind === "refused" && result.kind === "answered"
        ? namedIn(result, plan)
        : new Set();
      const isNamed = ({ address }: Recipient) => named.has(sameAddress(address));
      const others = rest.filter((recipient) => !isNamed(recipient));
      for (const { id } of rest.filter(isNamed)) outcomes.set(id, outcome);
      if (named.size > 0 && others.length > 0 && count < mostRequests) {
        rest = others;
        continue;
      }
      for (const { id } of others) outcomes.set(id, named.size > 0 ? notYet : outcome);
      const id = sendgridId(result);
      return {
        recipients: outcomes,
        ...(id === undefined ? {} : { providerMessageId: id }),
        ...(result.kind === "answered" ? { answer: this.#answerOf(result, mail) } : {}),
      };
    }
  }

  async #domains(signal: AbortSignal): Promise<readonly string[] | undefined> {
    const result = await this.#call("GET", "v3/whitelabel/domains?limit=200", signal);
    const found = result.kind === "answered" && result.status === 200
      ? domainList.safeParse(result.json)
      : undefined;
    if (found?.success !== true) return undefined;
    return [
      ...new Set(found.data.filter(({ valid }) => valid).flatMap(({ domain }) => normalDomain(domain) ?? [])),
    ];
  }

  #call(method: "GET" | "POST", path: string, signal: AbortSignal, body?: Uint8Array): Promise<HttpResult> {
    const { endpoint, region, api_key } = this.#settings;
    const base = endpoint === undefined ? hosts[region] : endpoint.replace(/\/*$/, "/");
    const headers = { authorization: `Bearer ${api_key}`, accept: "application/json" };
    return callService(
      this.#io,
      {
        method,
        url: new URL(path, base),
        headers: body === undefined ? headers : { ...headers, "content-type": "application/json" },
        ...(body === undefined ? {} : { body, sendsMail: true }),
      },
      signal,
      endpoint !== undefined,
    );
  }

  #outcomeOf(result: HttpResult): RecipientOutcome {
    return outcomeOfSendgrid(result, this.#hearing());
  }

  #hearing(): Hearing {
    return { now: this.#io.now(), secrets: [this.#settings.api_key] };
  }

  #answerOf(result: HttpAnswer, { leftOut }: SendgridMail): EspAnswer {
    const answer = answerOf(result, [this.#settings.api_key], errorsOf(result)[0]?.field);
    if (leftOut === 0) return answer;
    return { ...answer, excerpt: `Empty attachments left out: ${leftOut}. ${answer.excerpt}`.slice(0, 500) };
  }
}

/** The addresses that a refusal names; none when it names anything else besides. */
function namedIn(answer: HttpAnswer, plan: readonly Personalization[]): ReadonlySet<string> {
  const named = new Set<string>();
  for (const { field = "" } of errorsOf(answer)) {
    const address = addressAt(field, plan);
    if (address === undefined) return new Set();
    named.add(sameAddress(address));
  }
  return named;
}

function outcomeOfUnusable(error: unknown, signal: AbortSignal): RecipientOutcome {
  if (!(error instanceof TooManyParts)) return outcomeOfUnreadable(error, signal);
  return { kind: "refused", fault: { blame: "message", code: "too_many_parts", detail: error.message } };
}

const senderMissing: RecipientOutcome = {
  kind: "refused",
  fault: {
    blame: "message",
    code: "from_missing",
    detail: "SendGrid needs a sender in ASCII: neither From nor the envelope names one",
  },
};

const notYet: RecipientOutcome = {
  kind: "retry",
  fault: {
    blame: "message",
    code: "recipients_not_told_apart",
    detail: `SendGrid named more addresses that it does not take in each of ${mostRequests} requests`,
  },
};

const scopeMissing: Fault = {
  blame: "provider",
  code: "scope_missing",
  detail: "The key may not send mail: it lacks the scope mail.send",
};

const scopeList = z.object({ scopes: z.array(z.string()).max(10_000) });
const domainList = z.array(z.object({ domain: z.string(), valid: z.boolean() })).max(1000);

function scopesOf({ json }: HttpAnswer): readonly string[] | undefined {
  const found = scopeList.safeParse(json);
  return found.success ? found.data.scopes : undefined;
}

function faultsOf(outcome: RecipientOutcome): readonly Fault[] {
  return outcome.kind === "accepted" ? [] : [outcome.fault];
}
