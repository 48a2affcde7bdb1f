// Amazon SES's side of sending (API version 2), as strict as its documentation; it shares no code with the client
// that it checks.
import { Buffer } from "node:buffer";
import { type AwsKey, signatureFault } from "./aws_signature.ts";
import { FaultyHttp } from "./faulty_http.ts";
import type { HttpReply, SeenRequest } from "./faulty_http.ts";

/** A message that was taken. */
export interface SesMail {
  /** Who gets it, as the request names them. */
  readonly to: readonly string[];
  readonly raw: Buffer;
  readonly from?: string;
  readonly configurationSet?: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly id: string;
}

const largest = 40 * 1024 * 1024;
const fields = [
  "FromEmailAddress",
  "FromEmailAddressIdentityArn",
  "Destination",
  "ReplyToAddresses",
  "FeedbackForwardingEmailAddress",
  "FeedbackForwardingEmailAddressIdentityArn",
  "Content",
  "EmailTags",
  "ConfigurationSetName",
  "EndpointId",
  "TenantName",
  "ListManagementOptions",
];

/** An account in one region. */
export class FakeSes implements AsyncDisposable {
  readonly mails: SesMail[] = [];
  readonly keys = new Map<string, AwsKey>();
  readonly configurationSets = new Set(["known"]);
  /** Addresses that SES takes for no addresses. */
  readonly badAddresses = new Set<string>();
  readonly identities: Record<string, unknown>[] = [];
  /** How far its clock is ahead of ours. */
  aheadMs = 0;
  isSendingEnabled = true;
  /** The credentials may do nothing but send. */
  maySendOnly = false;
  readonly region = "eu-west-1";
  #http: FaultyHttp | undefined;

  /** Starts one on loopback that knows one pair of keys. */
  static async open(): Promise<FakeSes> {
    const fake = new FakeSes();
    fake.keys.set("AKIDEXAMPLE", { secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" });
    fake.#http = await FaultyHttp.open((request) => fake.#stamped(fake.#answer(request)));
    return fake;
  }

  get http(): FaultyHttp {
    if (this.#http === undefined) throw new Error("The server does not run");
    return this.#http;
  }

  now(): Date {
    return new Date(Date.now() + this.aheadMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.http[Symbol.asyncDispose]();
  }

  #stamped(reply: HttpReply): HttpReply {
    const headers = {
      "Date": this.now().toUTCString(),
      "x-amzn-RequestId": crypto.randomUUID(),
      ...reply.headers,
    };
    return { ...reply, headers };
  }

  #answer(request: SeenRequest): HttpReply {
    const [path, query = ""] = request.target.split("?");
    const { keys, region } = this;
    const wrong = signatureFault(request, { service: "ses", region, keys, now: this.now() });
    if (wrong !== undefined) return failure(403, wrong.type, wrong.message);
    const action = `${request.method} ${path}`;
    if (action === "POST /v2/email/outbound-emails") return this.#send(request);
    if (this.maySendOnly) {
      return failure(403, "AccessDeniedException", "User is not authorized to perform this");
    }
    if (action === "GET /v2/email/account") return this.#describe();
    if (action === "GET /v2/email/identities") return this.#list(new URLSearchParams(query));
    return failure(404, "UnknownOperationException", "");
  }

  #describe(): HttpReply {
    return {
      status: 200,
      body: {
        DedicatedIpAutoWarmupEnabled: false,
        EnforcementStatus: "HEALTHY",
        ProductionAccessEnabled: true,
        SendingEnabled: this.isSendingEnabled,
        SendQuota: { Max24HourSend: 50000.0, MaxSendRate: 14.0, SentLast24Hours: 0.0 },
      },
    };
  }

  #list(query: URLSearchParams): HttpReply {
    const size = Math.min(Number(query.get("PageSize") ?? 100), 2);
    const from = Number(query.get("NextToken")?.replace("page+/=", "") ?? 0);
    const to = from + size;
    const next = to < this.identities.length ? { NextToken: `page+/=${to}` } : {};
    return { status: 200, body: { EmailIdentities: this.identities.slice(from, to), ...next } };
  }

  #send(request: SeenRequest): HttpReply {
    if (request.isChunked) return failure(411, "MissingContentLength", "");
    if (request.headers.get("content-type") !== "application/json") {
      return failure(415, "UnsupportedMediaTypeException", "");
    }
    try {
      const mail = this.#parse(Buffer.from(request.body).toString("utf8"));
      const id = `0102${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}-${crypto.randomUUID()}-000000`;
      this.mails.push({ ...mail, id });
      return { status: 200, body: { MessageId: id } };
    } catch (error) {
      if (error instanceof Refused) return failure(error.status, error.type, error.message);
      throw error;
    }
  }

  #parse(text: string): Omit<SesMail, "id"> {
    const input = object(parse(text), "input", fields);
    const content = object(input["Content"], "Content", ["Raw", "Simple", "Template"]);
    const raw = rawMessage(object(content["Raw"], "Raw", ["Data"])["Data"]);
    const destination = object(input["Destination"], "Destination", [
      "ToAddresses",
      "CcAddresses",
      "BccAddresses",
    ]);
    const to = Object.values(destination).flatMap((list) => texts(list, "addresses"));
    if (to.length < 1) bad("Destination is empty");
    if (to.length > 50) bad("Recipient count exceeds 50.");
    for (const address of to) this.#checkAddress(address);
    const from = optionalText(input["FromEmailAddress"]);
    if (from !== undefined) this.#checkAddress(from);
    checkMime(raw, from !== undefined);
    const configurationSet = optionalText(input["ConfigurationSetName"]);
    if (configurationSet !== undefined && !this.configurationSets.has(configurationSet)) {
      throw new Refused(404, "NotFoundException", `Configuration set <${configurationSet}> does not exist.`);
    }
    return {
      to,
      raw,
      tags: tagsOf(input["EmailTags"]),
      ...(from === undefined ? {} : { from }),
      ...(configurationSet === undefined ? {} : { configurationSet }),
    };
  }

  #checkAddress(address: string): void {
    if (!/^[\x21-\x7e]+@[A-Za-z0-9.-]+$/.test(address)) bad("Local address contains control or whitespace");
    if (address.length > 320) bad("Address length is more than 320 characters long");
    if (this.badAddresses.has(address)) bad("Domain contains illegal character");
  }
}

class Refused extends Error {
  constructor(readonly status: number, readonly type: string, message: string) {
    super(message);
  }
}

function bad(message: string): never {
  throw new Refused(400, "BadRequestException", message);
}

function failure(status: number, type: string, message: string): HttpReply {
  return {
    status,
    headers: { "x-amzn-ErrorType": `${type}:http://internal.amazon.com/coral/com.amazonaws.ses/` },
    body: { message },
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Refused(400, "SerializationException", "");
  }
}

function object(value: unknown, name: string, known: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) bad(`${name} is missing`);
  const wrong = Object.keys(value).find((key) => !known.includes(key));
  if (wrong !== undefined) bad(`${name} has no member ${wrong}`);
  return value as Record<string, unknown>;
}

function texts(value: unknown, name: string): readonly string[] {
  if (!Array.isArray(value) || !value.every((one) => typeof one === "string")) {
    bad(`${name} is no list of strings`);
  }
  return value as string[];
}

function optionalText(value: unknown): string | undefined {
  if (value === undefined || typeof value === "string") return value;
  return bad("A member is no string");
}

/** Standard base64 without line ends, and not more than it says. */
function rawMessage(data: unknown): Buffer {
  if (typeof data !== "string" || data.length % 4 !== 0) bad("Raw.Data is no base64");
  const bytes = Buffer.from(data, "base64");
  if (bytes.toString("base64") !== data) bad("Raw.Data is no base64");
  if (bytes.length > largest) throw new Refused(413, "RequestEntityTooLarge", "");
  return bytes;
}

/** Some of the fields that SES takes one of at most. */
const onlyOnce = [
  "from",
  "sender",
  "reply-to",
  "subject",
  "date",
  "message-id",
  "in-reply-to",
  "references",
  "dkim-signature",
  "mime-version",
  "content-type",
  "content-transfer-encoding",
  "list-id",
  "list-unsubscribe",
];

function checkMime(raw: Buffer, hasSender: boolean): void {
  const end = raw.indexOf("\r\n\r\n");
  if (end < 0 && !raw.subarray(0, 2).equals(Buffer.from("\r\n"))) bad("Missing blank line");
  const names = raw.subarray(0, Math.max(0, end)).toString("latin1").split(/\r\n(?![ \t])/)
    .map((field) => /^([^:\s]+)[ \t]*:/.exec(field)?.[1]?.toLowerCase());
  if (!hasSender && !names.includes("from")) bad("Missing required header 'From'.");
  for (const once of onlyOnce) {
    if (names.filter((name) => name === once).length > 1) bad(`Duplicate header '${once}'.`);
  }
}

function tagsOf(value: unknown): Readonly<Record<string, string>> {
  if (value === undefined) return {};
  if (!Array.isArray(value)) bad("EmailTags is no list");
  const tags: Record<string, string> = {};
  for (const one of value as unknown[]) {
    const { Name: name, Value: text } = object(one, "tag", ["Name", "Value"]);
    for (const part of [name, text]) {
      if (typeof part !== "string" || !/^[A-Za-z0-9_-]{1,256}$/.test(part)) bad("Invalid tag");
    }
    if (String(name) in tags || String(name).startsWith("ses:")) bad("Duplicate tag");
    tags[String(name)] = String(text);
  }
  return tags;
}
