// Mailgun's side of sending, as strict as its documentation; it shares no code with the client that it checks.
import { Buffer } from "node:buffer";
import { FaultyHttp } from "./faulty_http.ts";
import type { HttpReply, SeenRequest } from "./faulty_http.ts";

/** A message that was taken, with what came beside it. */
export interface MailgunMail {
  readonly to: readonly string[];
  readonly mime: Buffer;
  /** Fields `v:…` and `o:…` by their names. */
  readonly options: ReadonlyMap<string, string>;
}

/** One part of a form, as it stands in the body. */
interface FormPart {
  readonly name: string;
  readonly filename?: string;
  readonly content: Buffer;
}

const largest = 25 * 1024 * 1024;

/** A Mailgun account with one domain. */
export class FakeMailgun implements AsyncDisposable {
  readonly mails: MailgunMail[] = [];
  /** Addresses that Mailgun takes for no addresses. */
  readonly badAddresses = new Set<string>();
  /** What the account's domain is, e.g. `active`, `unverified`. */
  state = "active";
  /** The key may do nothing but send. */
  isSendingKey = false;
  readonly key: string;
  readonly domain: string;
  #http: FaultyHttp | undefined;

  private constructor(key: string, domain: string) {
    this.key = key;
    this.domain = domain;
  }

  /** Starts one on loopback. */
  static async open(key = "key-0123456789abcdef", domain = "mg.example.com"): Promise<FakeMailgun> {
    const fake = new FakeMailgun(key, domain);
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
    const { method, target } = request;
    const send = /^\/v3\/([^/?]+)\/messages\.mime$/.exec(target)?.[1];
    const look = /^\/v4\/domains\/([^/?]+)$/.exec(target)?.[1];
    const domain = decodeURIComponent(send ?? look ?? "");
    if (domain === "") return { status: 200, body: "Mailgun Magnificent API" };
    const expected = `Basic ${Buffer.from(`api:${this.key}`).toString("base64")}`;
    const isOwner = request.headers.get("authorization") === expected;
    if (!isOwner || (look !== undefined && this.isSendingKey)) return { status: 401, body: "Forbidden" };
    if (domain !== this.domain) return { status: 404, body: { message: "Domain not found: " + domain } };
    if (look !== undefined) return this.#describe(method);
    if (method !== "POST") return { status: 405, body: { message: "Method not allowed" } };
    if (request.body.length > largest + 1024 * 1024) return { status: 413, body: { message: "Too large" } };
    return this.#take(request);
  }

  #describe(method: string): HttpReply {
    if (method !== "GET") return { status: 405, body: { message: "Method not allowed" } };
    return {
      status: 200,
      body: {
        domain: { name: this.domain, state: this.state, is_disabled: false, type: "custom" },
        sending_dns_records: [],
        receiving_dns_records: [],
      },
    };
  }

  #take(request: SeenRequest): HttpReply {
    const type = request.headers.get("content-type") ?? "";
    const boundary = /^multipart\/form-data; *boundary=([A-Za-z0-9'()+_,.\/:=?-]{1,70})$/.exec(type)?.[1];
    if (boundary === undefined) return badRequest("to parameter is missing");
    if (request.isChunked) return badRequest("length of the request is not known");
    const parts = formParts(Buffer.from(request.body), boundary);
    if (typeof parts === "string") return badRequest(parts);
    const files = parts.filter(({ name }) => name === "message");
    const to = parts.filter(({ name }) => name === "to").map(({ content }) => content.toString());
    const options = parts.filter(({ name }) => /^[vo]:/.test(name));
    if (files.length + to.length + options.length !== parts.length) {
      return badRequest("parameter is not known");
    }
    if (to.length === 0) return badRequest("to parameter is missing");
    if (to.length > 1000) return badRequest("to parameter has more than 1000 recipients");
    if (to.some((address) => !isAddress(address) || this.badAddresses.has(address))) {
      return badRequest("'to' parameter is not a valid address. please check documentation");
    }
    const [file] = files;
    if (files.length !== 1 || file?.filename === undefined) {
      return badRequest("'message' parameter is not a file");
    }
    if (file.content.length > largest) return { status: 413, body: { message: "Message is too large" } };
    const id = /^message-id:\s*<?([^>\s]+)>?/im.exec(headerOf(file.content))?.[1];
    this.mails.push({
      to,
      mime: file.content,
      options: new Map(options.map(({ name, content }) => [name, content.toString()])),
    });
    const name = id ?? `2026.${this.mails.length}@${this.domain}`;
    return { status: 200, body: { id: `<${name}>`, message: "Queued. Thank you." } };
  }
}

function badRequest(message: string): HttpReply {
  return { status: 400, body: { message } };
}

function headerOf(mime: Buffer): string {
  const end = mime.indexOf("\r\n\r\n");
  return mime.subarray(0, end < 0 ? mime.length : end + 2).toString("latin1");
}

/** Plain addresses and quoted ones; nothing that needs SMTPUTF8. */
function isAddress(text: string): boolean {
  return /^([!#-'*+\/-9=?A-Z^-~-]+(\.[!#-'*+\/-9=?A-Z^-~-]+)*|"[\x20\x21\x23-\x5b\x5d-\x7e]+")@[A-Za-z0-9.-]+$/
    .test(text);
}

/** The parts of a form (RFC 7578), or what is wrong with it. */
function formParts(body: Buffer, boundary: string): readonly FormPart[] | string {
  const mark = `--${boundary}`;
  const parts: FormPart[] = [];
  if (body.indexOf(`${mark}\r\n`) !== 0) return "form does not begin with its boundary";
  let at = mark.length + 2;
  for (;;) {
    const headEnd = body.indexOf("\r\n\r\n", at);
    const end = headEnd < 0 ? -1 : body.indexOf(`\r\n${mark}`, headEnd + 2);
    if (end < 0) return "form has no end";
    const part = formPart(body.subarray(at, headEnd).toString("utf8"), body.subarray(headEnd + 4, end));
    if (part === undefined) return "part of the form has no name";
    parts.push(part);
    at = end + 2 + mark.length;
    const after = body.subarray(at, at + 2).toString("latin1");
    if (after === "--") {
      return body.subarray(at + 2).toString("latin1") === "\r\n" ? parts : "form goes on after its end";
    }
    if (after !== "\r\n") return "form is broken";
    at += 2;
  }
}

function formPart(head: string, content: Buffer): FormPart | undefined {
  const disposition = head.split("\r\n").find((line) => /^content-disposition:/i.test(line));
  const found = /^content-disposition: form-data; name="([^"\r\n]+)"(?:; filename="([^"\r\n]+)")?$/i.exec(
    disposition ?? "",
  );
  if (found?.[1] === undefined) return undefined;
  return { name: found[1], content, ...(found[2] === undefined ? {} : { filename: found[2] }) };
}
