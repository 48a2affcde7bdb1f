import { z } from "zod";
import type { AwsCredentials } from "../aws/aws_credentials.ts";
import { CredentialsFailure, type CredentialSource } from "../aws/credentials.ts";
import { awsDomain, regionPattern } from "../aws/region.ts";
import { ServiceClock } from "../aws/service_clock.ts";
import { hashOf, signRequest } from "../aws/sign.ts";
import type { Recipient } from "../messages/message.ts";
import { asciiAddress } from "../mime/address.ts";
import { droppedFields, fieldName, splitFields } from "../mime/header_edits.ts";
import { openOutgoing } from "../mime/outgoing.ts";
import type { Outgoing } from "../mime/outgoing.ts";
import { accountSecrets, accountSettings, httpEndpoint } from "./account_settings.ts";
import type { AccountCheck, Esp, EspIo, EspKind, Parcel } from "./esp.ts";
import type { HttpResult } from "./http.ts";
import { answerOf, type Hearing } from "./http_outcome.ts";
import type { CallReport, Fault, RecipientOutcome } from "./outcome.ts";
import { type PartReport, sendApart } from "./send_apart.ts";
import { checkAccount } from "./ses_account.ts";
import { isRecipientFault, outcomeOfSes, remedyOf, sesErrorType, sesMessageId } from "./ses_outcome.ts";
import { type HashedBody, sendEmailBody } from "./ses_request.ts";
import { sesWebhook } from "./ses_webhook.ts";
import { callService, outcomeOfUnreadable, reportOf } from "./whole_parcel.ts";
import { storable } from "../storable.ts";

const key = z.string().regex(/^[\x21-\x7e]{1,4096}$/);
const settings = z.strictObject({
  ...accountSettings,
  endpoint: httpEndpoint,
  region: z.string().regex(regionPattern).describe("Region that sends, e.g. `eu-west-1`"),
  credentials: z.enum(["static", "environment", "web_identity", "container", "instance"]).default("static")
    .describe("Whose identity: `static` keys of one's own; the others are the operator's, who must allow it"),
  access_key_id: key.optional().describe("With `static`"),
  secret_access_key: key.optional().describe("With `static`"),
  session_token: key.optional().describe("With `static` keys that are temporary"),
  role_arn: z.string().regex(/^arn:[\w-]{1,20}:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/).optional()
    .describe("Role to take on with these credentials"),
  configuration_set: z.string().regex(/^[\w-]{1,64}$/).optional()
    .describe("Configuration set that every message is sent with"),
  topic_arn: z.string().regex(/^arn:[\w-]{1,20}:sns:[a-z0-9-]{3,30}:\d{12}:[\w.-]{1,256}$/).optional()
    .describe("SNS topic whose reports of what became of messages are believed"),
  sns_signature: z.enum(["1", "2"]).optional()
    .describe("Lowest version of SNS's signatures that is believed: `1` (default) is SHA-1, `2` SHA-256"),
}).check((context) => {
  const { credentials, access_key_id: id, secret_access_key: secret, session_token: token } = context.value;
  const isStatic = credentials === "static";
  const fits = isStatic ? id !== undefined && secret !== undefined : (id ?? secret ?? token) === undefined;
  if (fits) return;
  context.issues.push({
    code: "custom",
    message: isStatic
      ? "static credentials are an access_key_id and a secret_access_key"
      : `${credentials} credentials have no keys of their own`,
    path: [isStatic ? "access_key_id" : "credentials"],
    input: credentials,
  });
});

/** The settings of Amazon SES. */
export type SesSettings = z.output<typeof settings>;

/** Amazon SES (API version 2): takes the message as it is and its recipients beside it. */
export const ses: EspKind<SesSettings> = {
  name: "ses",
  settings,
  secretKeys: [...accountSecrets, "secret_access_key", "session_token"],
  targetKeys: ["endpoint"],
  webhook: sesWebhook,
  open: (given, io) => new Ses(given, io),
};

const sendPath = "/v2/email/outbound-emails";

class Ses implements Esp {
  readonly limits = { recipients: 50, bytes: 40 * 1024 * 1024, parallel: 50 };
  /** The JSON document, a third larger than the message, is held twice: here and by the HTTP client (3.8 measured). */
  readonly memoryPerByte = 4;
  readonly smtpUtf8 = false;
  readonly #settings: SesSettings;
  readonly #io: EspIo;
  readonly #credentials: CredentialSource;
  readonly #clock: ServiceClock;

  constructor(given: SesSettings, io: EspIo) {
    this.#settings = given;
    this.#io = io;
    this.#credentials = sourceOf(given, io);
    this.#clock = new ServiceClock(io.now);
  }

  async deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport> {
    let message: Outgoing;
    try {
      signal.throwIfAborted();
      message = await openOutgoing(parcel.body, { dropped: droppedFields(this.#settings) });
    } catch (error) {
      return reportOf(parcel, outcomeOfUnreadable(error, signal));
    }
    if (parcel.message.smtpUtf8 && message.header.some((byte) => byte > 127)) {
      return reportOf(parcel, { kind: "refused", fault: unicodeHeader });
    }
    return await sendApart(parcel.recipients, (some) => this.#send(parcel, some, message, signal));
  }

  async check(signal: AbortSignal): Promise<AccountCheck> {
    return await checkAccount(async (method, path, body) => {
      const text = body ?? "";
      const hashed = { bytes: new TextEncoder().encode(text), sha256: hashOf(text) };
      const { result, hearing } = await this.#call(method, path, hashed, signal);
      return { result, outcome: this.#outcomeOf(result, hearing) };
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  /** One request for these recipients. */
  async #send(
    parcel: Parcel,
    recipients: readonly Recipient[],
    message: Outgoing,
    signal: AbortSignal,
  ): Promise<PartReport> {
    let body: HashedBody;
    try {
      body = await this.#bodyFor(parcel, recipients, message);
    } catch (error) {
      const outcome = outcomeOfUnreadable(error, signal);
      return { ...reportOf(parcel, outcome, {}, recipients), isRecipientFault: false };
    }
    const { result, hearing } = await this.#call("POST", sendPath, body, signal);
    const outcome = this.#outcomeOf(result, hearing);
    if (result instanceof CredentialsFailure) {
      return { ...reportOf(parcel, outcome, {}, recipients), isRecipientFault: false };
    }
    const id = sesMessageId(result);
    const answer = result.kind === "answered"
      ? { answer: answerOf(result, hearing.secrets, sesErrorType(result)) }
      : {};
    const more = { ...answer, ...(id === undefined ? {} : { providerMessageId: id }) };
    return {
      ...reportOf(parcel, outcome, more, recipients),
      isRecipientFault: isRecipientFault(result),
    };
  }

  async #bodyFor(
    { message: { id, mailFrom }, call }: Parcel,
    recipients: readonly Recipient[],
    message: Outgoing,
  ): Promise<HashedBody> {
    const { configuration_set: configurationSet } = this.#settings;
    const hasFrom = splitFields(message.header).some((field) => fieldName(field) === "from");
    const from = hasFrom ? undefined : asciiAddress(mailFrom) || undefined;
    return await sendEmailBody(message, {
      recipients: recipients.map(({ address }) => address),
      ...(from === undefined ? {} : { from }),
      ...(configurationSet === undefined ? {} : { configurationSet }),
      tags: { "message-id": id, "call-id": call },
    });
  }

  /** Makes a signed request; once more with other credentials or another time where SES refused the signature. */
  async #call(
    method: "GET" | "POST",
    path: string,
    body: HashedBody,
    signal: AbortSignal,
  ): Promise<SesCall> {
    const credentials = await this.#resolve();
    if (credentials instanceof CredentialsFailure) return { result: credentials, hearing: this.#hear([]) };
    const call = await this.#callOnce(method, path, body, credentials, signal);
    const cure = await this.#cure(call.result, credentials);
    return cure === undefined ? call : await this.#callOnce(method, path, body, cure, signal);
  }

  async #callOnce(
    method: "GET" | "POST",
    path: string,
    { bytes, sha256 }: HashedBody,
    credentials: AwsCredentials,
    signal: AbortSignal,
  ): Promise<SesCall> {
    const { endpoint, region } = this.#settings;
    const base = endpoint ?? `https://email.${region}.${awsDomain(region)}`;
    const url = new URL(base.replace(/\/+$/, "") + path);
    const headers = {
      accept: "application/json",
      ...(method === "POST" ? { "content-type": "application/json" } : {}),
    };
    const scope = { service: "ses", region, credentials, now: this.#clock.now() };
    const signed = await signRequest({ method, url, headers, payloadHash: sha256 }, scope);
    const request = { method, url, headers: signed, body: bytes, sendsMail: path === sendPath };
    const result = await callService(this.#io, request, signal, endpoint !== undefined);
    return { result, hearing: this.#hear(secretsOf(credentials)) };
  }

  /** The credentials for another try, where their being others or the clock's being right makes it worth one. */
  async #cure(result: SesCall["result"], used: AwsCredentials): Promise<AwsCredentials | undefined> {
    if (result instanceof CredentialsFailure || result.kind !== "answered") return undefined;
    const remedy = remedyOf(result);
    if (remedy === "clock") return this.#clock.correct(result.headers.get("date")) ? used : undefined;
    if (remedy === undefined) return undefined;
    this.#credentials.reject(used);
    const others = await this.#resolve();
    return others instanceof CredentialsFailure || others === used ? undefined : others;
  }

  async #resolve(): Promise<AwsCredentials | CredentialsFailure> {
    try {
      return await this.#credentials.resolve();
    } catch (error) {
      if (error instanceof CredentialsFailure) return error;
      throw error;
    }
  }

  #hear(secrets: readonly string[]): Hearing {
    return { now: this.#clock.now(), secrets };
  }

  #outcomeOf(result: HttpResult | CredentialsFailure, hearing: Hearing): RecipientOutcome {
    return result instanceof CredentialsFailure
      ? outcomeWithoutCredentials(result)
      : outcomeOfSes(result, hearing);
  }
}

interface SesCall {
  readonly result: HttpResult | CredentialsFailure;
  readonly hearing: Hearing;
}

/** Who is asked for credentials and is down will be up again; all else is for somebody to repair. */
function outcomeWithoutCredentials({ code, message }: CredentialsFailure): RecipientOutcome {
  const fault: Fault = { blame: "provider", code, detail: storable(message, 500) };
  const cause = code === "credentials_unavailable" ? "unavailable" : "credentials";
  return { kind: "wait", cause, fault };
}

const unicodeHeader: Fault = {
  blame: "message",
  code: "smtputf8_unsupported",
  detail: "SES cannot take the message: its header needs SMTPUTF8",
};

function sourceOf(given: SesSettings, { credentials: open }: EspIo): CredentialSource {
  const { credentials: kind, access_key_id: id, secret_access_key: secret, session_token: token } = given;
  const keys = id === undefined || secret === undefined ? undefined : {
    accessKeyId: id,
    secretAccessKey: secret,
    ...(token === undefined ? {} : { sessionToken: token }),
  };
  const { role_arn: roleArn, region } = given;
  if (keys !== undefined && roleArn === undefined) {
    return { resolve: () => Promise.resolve(keys), reject() {} };
  }
  if (open === undefined) {
    throw new Error(`Cannot open SES: credentials "${kind}" with a role are not available here`);
  }
  return open({
    kind,
    region,
    ...(keys === undefined ? {} : { keys }),
    ...(roleArn === undefined ? {} : { roleArn }),
  });
}

function secretsOf({ secretAccessKey, sessionToken }: AwsCredentials): readonly string[] {
  return sessionToken === undefined ? [secretAccessKey] : [secretAccessKey, sessionToken];
}
