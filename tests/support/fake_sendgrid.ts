// SendGrid's side of v3/mail/send, as strict as its documentation; it shares no code with the client that it checks.
import { FaultyHttp } from "./faulty_http.ts";
import type { HttpReply, SeenRequest } from "./faulty_http.ts";
import { Complaint, isObject, type Json, known, list, text } from "./json_shape.ts";

/** One address of a request. */
export interface SentAddress {
  readonly email: string;
  readonly name?: string;
}

/** One mail as its recipients would get it. */
export interface SentMail {
  readonly to: readonly SentAddress[];
  readonly cc: readonly SentAddress[];
  readonly bcc: readonly SentAddress[];
  readonly from: SentAddress;
  readonly replyTo: readonly SentAddress[];
  readonly subject: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly customArgs: Readonly<Record<string, string>>;
  readonly categories: readonly string[];
  readonly content: readonly { readonly type: string; readonly value: string }[];
  readonly attachments: readonly SentFile[];
}

/** One attachment of a request. */
export interface SentFile {
  readonly filename: string;
  readonly bytes: Uint8Array;
  readonly type?: string;
  readonly disposition?: string;
  readonly contentId?: string;
}

const reserved = new Set(
  ("x-sg-id x-sg-eid received dkim-signature content-type content-transfer-encoding to from subject reply-to cc bcc")
    .split(" "),
);
const largest = 30 * 1024 * 1024;

/** A SendGrid account. */
export class FakeSendgrid implements AsyncDisposable {
  /** One for each personalization that was taken. */
  readonly mails: SentMail[] = [];
  /** Requests that were taken, as text. */
  readonly taken: string[] = [];
  /** Addresses that SendGrid takes for no addresses. */
  readonly badAddresses = new Set<string>();
  scopes: readonly string[] = ["mail.send", "whitelabel.read"];
  domains: readonly { readonly domain: string; readonly valid: boolean }[] = [];
  readonly key: string;
  #http: FaultyHttp | undefined;

  private constructor(key: string) {
    this.key = key;
  }

  /** Starts one on loopback. */
  static async open(key = "SG.0123456789abcdef.xyz"): Promise<FakeSendgrid> {
    const fake = new FakeSendgrid(key);
    fake.#http = await FaultyHttp.open((request) => fake.#answer(request));
    return fake;
  }

  get http(): FaultyHttp {
    if (this.#http === undefined) throw new Error("The server does not run");
    return this.#http;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.http[Symbol.asyncDispose]();
  }

  #answer(request: SeenRequest): HttpReply {
    const { method, target, headers } = request;
    if (headers.get("authorization") !== `Bearer ${this.key}`) {
      return errors(401, "The provided authorization grant is invalid, expired, or revoked");
    }
    if (method === "GET" && target === "/v3/scopes") return { status: 200, body: { scopes: this.scopes } };
    if (method === "GET" && target.startsWith("/v3/whitelabel/domains")) {
      return {
        status: 200,
        headers: { "content-type": "application/json" },
        body: JSON.stringify(this.domains),
      };
    }
    if (target !== "/v3/mail/send") return errors(404, "not found");
    if (method !== "POST") return errors(405, "method not allowed");
    if (!headers.get("accept")) return errors(406, "not acceptable");
    if (headers.get("content-type") !== "application/json") return errors(415, "content type must be JSON");
    if (request.isChunked) return errors(411, "length required");
    if (request.body.length > largest) return errors(413, "The message is too large");
    return this.#take(request.body);
  }

  #take(body: Uint8Array): HttpReply {
    let json: unknown;
    let source: string;
    try {
      source = new TextDecoder("utf-8", { fatal: true }).decode(body);
      json = JSON.parse(source);
    } catch (error) {
      return errors(400, `Bad Request: ${String(error)}`);
    }
    try {
      this.mails.push(...mailsOf(json, this.badAddresses));
    } catch (error) {
      if (!(error instanceof Complaint)) throw error;
      return { status: 400, body: { errors: error.items.map((item) => ({ ...item, help: null })) } };
    }
    this.taken.push(source);
    const id = `id${this.taken.length.toString().padStart(20, "0")}`;
    return { status: 202, headers: { "X-Message-Id": id } };
  }
}

function errors(status: number, message: string): HttpReply {
  return { status, body: { errors: [{ message, field: null, help: null }] } };
}

const topKeys = [
  "personalizations",
  "from",
  "reply_to",
  "reply_to_list",
  "subject",
  "content",
  "attachments",
  "headers",
  "categories",
  "custom_args",
  "send_at",
  "batch_id",
  "asm",
  "ip_pool_name",
  "mail_settings",
  "tracking_settings",
  "template_id",
];

function mailsOf(json: unknown, bad: ReadonlySet<string>): readonly SentMail[] {
  const top = known(json, "", topKeys);
  if ("reply_to" in top && "reply_to_list" in top) throw new Complaint("use one of them", "reply_to");
  const replyTo = "reply_to" in top
    ? [address(top["reply_to"], "reply_to")]
    : "reply_to_list" in top
    ? addresses(top["reply_to_list"], "reply_to_list", 1000)
    : [];
  once(replyTo, "reply_to_list");
  const customArgs = strings(top["custom_args"] ?? {}, "custom_args");
  if (JSON.stringify(customArgs).length > 10_000) throw new Complaint("above 10000 bytes", "custom_args");
  const categories = list(top["categories"] ?? [], "categories", 0, 10).map((item, index) =>
    text(item, `categories.${index}`, 1, 255, /^[\x20-\x7e]*$/)
  );
  if (new Set(categories).size !== categories.length) throw new Complaint("not unique", "categories");
  if ("send_at" in top && !Number.isInteger(top["send_at"])) throw new Complaint("no integer", "send_at");
  const common = {
    from: address(top["from"], "from"),
    replyTo,
    subject: text(top["subject"], "subject", 1, 100_000),
    headers: headersOf(top["headers"] ?? {}),
    customArgs,
    categories,
    content: contentOf(top["content"]),
    attachments: list(top["attachments"] ?? [], "attachments", "attachments" in top ? 1 : 0).map(fileOf),
  };
  const places = list(top["personalizations"], "personalizations", 1, 1000);
  const complaints: { message: string; field: string }[] = [];
  const mails = places.map((item, index) => {
    const at = `personalizations.${index}`;
    const { to, cc = [], bcc = [] } = known(item, at, [
      "to",
      "cc",
      "bcc",
      "subject",
      "headers",
      "custom_args",
    ]);
    const mail = {
      ...common,
      to: addresses(to, `${at}.to`, 1000, bad, complaints),
      cc: "cc" in (item as Json) ? addresses(cc, `${at}.cc`, 1000, bad, complaints) : [],
      bcc: "bcc" in (item as Json) ? addresses(bcc, `${at}.bcc`, 1000, bad, complaints) : [],
    };
    once([...mail.to, ...mail.cc, ...mail.bcc], at);
    return mail;
  });
  if (complaints.length > 0) throw new Complaint("several", "personalizations", complaints);
  const count = mails.reduce((sum, { to, cc, bcc }) => sum + to.length + cc.length + bcc.length, 0);
  if (count > 1000) throw new Complaint("above 1000 recipients", "personalizations");
  return mails;
}

function once(given: readonly SentAddress[], at: string): void {
  if (new Set(given.map(({ email }) => email.toLowerCase())).size !== given.length) {
    throw new Complaint("Each email address should be unique between to, cc, and bcc", at);
  }
}

function addresses(
  value: unknown,
  at: string,
  most: number,
  bad?: ReadonlySet<string>,
  complaints?: { message: string; field: string }[],
): readonly SentAddress[] {
  return list(value, at, 1, most).map((item, index) => {
    const found = address(item, `${at}.${index}`);
    if (bad?.has(found.email) === true) {
      complaints?.push({ message: "Does not contain a valid address.", field: `${at}.${index}.email` });
    }
    return found;
  });
}

function address(value: unknown, at: string): SentAddress {
  const given = known(value, at, ["email", "name"]);
  const email = text(given["email"], `${at}.email`, 3, 320, /^[\x21-\x7e]+@[a-z0-9.-]+$/i);
  return "name" in given
    ? { email, name: text(given["name"], `${at}.name`, 1, 1000, /^\P{Cc}*$/u) }
    : { email };
}

function headersOf(value: unknown): Readonly<Record<string, string>> {
  const headers = strings(value, "headers");
  const names = Object.keys(headers).map((name) => name.toLowerCase());
  if (new Set(names).size !== names.length) throw new Complaint("Header names are not unique", "headers");
  for (const [name, content] of Object.entries(headers)) {
    if (reserved.has(name.toLowerCase())) throw new Complaint(`The header ${name} is reserved`, "headers");
    if (!/^[\x21-\x39\x3b-\x7e]+$/.test(name)) {
      throw new Complaint("Header names are ASCII without spaces", "headers");
    }
    if (!/^[\x20-\x7e]*$/.test(content)) throw new Complaint("Header values are encoded", `headers.${name}`);
  }
  return headers;
}

function strings(value: unknown, at: string): Readonly<Record<string, string>> {
  if (!isObject(value)) throw new Complaint("is no object", at);
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, text(item, `${at}.${name}`, 0, 100_000)]),
  );
}

function contentOf(value: unknown): SentMail["content"] {
  const content = list(value, "content", 1).map((item, index) => {
    const given = known(item, `content.${index}`, ["type", "value"]);
    return {
      type: text(given["type"], `content.${index}.type`, 3, 200, /^[^;\r\n]+\/[^;\r\n]+$/),
      value: text(given["value"], `content.${index}.value`, 1),
    };
  });
  const order = content.map(({ type }) => ["text/plain", "text/html"].indexOf(type)).map((at) =>
    at < 0 ? 2 : at
  );
  if (order.some((rank, index) => rank < (order[index - 1] ?? 0))) {
    throw new Complaint("wrong order", "content");
  }
  if (new Set(content.map(({ type }) => type)).size !== content.length) {
    throw new Complaint("twice", "content");
  }
  return content;
}

function fileOf(value: unknown, index: number): SentFile {
  const at = `attachments.${index}`;
  const given = known(value, at, ["content", "filename", "type", "disposition", "content_id"]);
  const content = text(given["content"], `${at}.content`, 1, Infinity, /^[A-Za-z0-9+/]+={0,2}$/);
  if (content.length % 4 !== 0) {
    throw new Complaint("The attachment content must be base64 encoded", `${at}.content`);
  }
  const optional = (name: string, form: RegExp) =>
    name in given ? text(given[name], `${at}.${name}`, 1, 1000, form) : undefined;
  const type = optional("type", /^[^;\r\n]+$/);
  const disposition = optional("disposition", /^(inline|attachment)$/);
  const contentId = optional("content_id", /^[^<>;,\r\n]+$/);
  return {
    filename: text(given["filename"], `${at}.filename`, 1, 10_000),
    bytes: Uint8Array.fromBase64(content, { lastChunkHandling: "strict" }),
    ...(type === undefined ? {} : { type }),
    ...(disposition === undefined ? {} : { disposition }),
    ...(contentId === undefined ? {} : { contentId }),
  };
}
