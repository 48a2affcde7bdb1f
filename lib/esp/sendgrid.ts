import { z } from "zod";
import type { RecipientId } from "../ids.ts";
import type { Recipient } from "../messages/message.ts";
import { normalDomain } from "../mime/address.ts";
import { droppedFields } from "../mime/header_edits.ts";
import { parseMessage } from "../mime/parse.ts";
import { sameAddress } from "../mime/recipient_fields.ts";
import { accountSecrets, accountSettings, httpEndpoint } from "./account_settings.ts";
import type { AccountCheck, Esp, EspIo, EspKind, Parcel } from "./esp.ts";
import type { HttpAnswer, HttpResult } from "./http.ts";
import { answerOf } from "./http_outcome.ts";
import type { Hearing } from "./http_outcome.ts";
import type { CallReport, EspAnswer, Fault, RecipientOutcome } from "./outcome.ts";
import { sendgridMail } from "./sendgrid_mail.ts";
import { errorsOf, outcomeOfSendgrid, sendgridId } from "./sendgrid_outcome.ts";
import { addressAt, planPersonalizations } from "./sendgrid_recipients.ts";
import type { Personalization } from "./sendgrid_recipients.ts";
import { sendgridWebhook, sendgridWebhookSettings } from "./sendgrid_webhook.ts";
import { readWhole } from "../store/whole_body.ts";
import { callService, outcomeOfUnreadable, reportOf } from "./whole_parcel.ts";
import { storable } from "../storable.ts";

const settings = z.strictObject({
  ...accountSettings,
  endpoint: httpEndpoint,
  api_key: z.string().regex(/^[\x21-\x7e]{1,512}$/).describe("A key that may send mail (`mail.send`)"),
  webhook: sendgridWebhookSettings.optional().describe(
    "`public_key`: what the event webhook is verified with",
  ),
  region: z.enum(["global", "eu"]).default("global").describe("`eu` for subusers whose data stays there"),
});

/** The settings of SendGrid. */
export type SendgridSettings = z.output<typeof settings>;

/** SendGrid (API version 3): takes no message as it is, so it is taken apart and said again in the API's words. */
export const sendgrid: EspKind<SendgridSettings> = {
  name: "sendgrid",
  settings,
  secretKeys: [...accountSecrets, "api_key"],
  targetKeys: ["endpoint"],
  webhook: sendgridWebhook,
  open: (given, io) => new Sendgrid(given, io),
};

const hosts = { global: "https://api.sendgrid.com/", eu: "https://api.eu.sendgrid.com/" } as const;
/** After as many requests in which SendGrid names addresses that it does not take, the others are tried again later. */
const mostRequests = 4;

interface Prepared {
  readonly json: Uint8Array;
  readonly plan: readonly Personalization[];
  readonly leftOut: number;
}

class Sendgrid implements Esp {
  readonly limits = { recipients: 1000, bytes: 30_000_000 };
  /** Measured: the message, its parts, the request and what the garbage collector has not taken yet. */
  readonly memoryPerByte = 6;
  readonly smtpUtf8 = false;
  readonly #settings: SendgridSettings;
  readonly #io: EspIo;

  constructor(given: SendgridSettings, io: EspIo) {
    this.#settings = given;
    this.#io = io;
  }

  async deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport> {
    const outcomes = new Map<RecipientId, RecipientOutcome>();
    let rest = parcel.recipients;
    // SendGrid refuses all for the sake of some addresses that it names: the others follow at once.
    for (let count = 1;; count++) {
      let prepared: Prepared | Fault;
      try {
        signal.throwIfAborted();
        prepared = await this.#prepare(parcel, rest);
      } catch (error) {
        return merged(outcomes, reportOf(parcel, outcomeOfUnreadable(error, signal), {}, rest));
      }
      if ("code" in prepared) return reportOf(parcel, { kind: "refused", fault: prepared });
      const result = await this.#call("POST", "v3/mail/send", signal, prepared.json);
      const outcome = this.#outcomeOf(result);
      const named = outcome.kind === "refused" && result.kind === "answered"
        ? namedIn(result, prepared.plan)
        : new Set();
      const isNamed = ({ address }: Recipient) => named.has(sameAddress(address));
      for (const { id } of rest.filter(isNamed)) outcomes.set(id, outcome);
      rest = rest.filter((recipient) => !isNamed(recipient));
      if (named.size > 0 && rest.length > 0 && count < mostRequests) continue;
      const id = sendgridId(result);
      return merged(
        outcomes,
        reportOf(parcel, named.size > 0 ? notYet : outcome, {
          ...(id === undefined ? {} : { providerMessageId: id }),
          ...(result.kind === "answered" ? { answer: this.#answerOf(result, prepared.leftOut) } : {}),
        }, rest),
      );
    }
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

  /** A request's body, or why there is none. The message's bytes are not kept: a large one would count twice. */
  async #prepare(
    { body, message, call }: Parcel,
    recipients: readonly Recipient[],
  ): Promise<Prepared | Fault> {
    using bytes = await readWhole(body);
    const mail = sendgridMail(await parseMessage(bytes.all), {
      message,
      customArgs: { "message-id": message.id, "call-id": call },
      dropped: droppedFields(this.#settings),
      passControls: this.#settings.pass_control_headers === true,
    });
    if ("code" in mail) return mail;
    const plan = planPersonalizations(recipients, mail.to, mail.cc);
    return { json: await mail.json(plan), plan, leftOut: mail.leftOut };
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
        ...(body === undefined ? {} : { body, sendsMail: true, givesBodyAway: true }),
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

  #answerOf(result: HttpAnswer, leftOut: number): EspAnswer {
    const answer = answerOf(result, [this.#settings.api_key], errorsOf(result)[0]?.field);
    if (leftOut === 0) return answer;
    return { ...answer, excerpt: storable(`Empty attachments left out: ${leftOut}. ${answer.excerpt}`, 500) };
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

function merged(outcomes: ReadonlyMap<RecipientId, RecipientOutcome>, report: CallReport): CallReport {
  return { ...report, recipients: new Map([...outcomes, ...report.recipients]) };
}

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
