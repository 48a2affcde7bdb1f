// A mailbox behind Microsoft Graph, as strict as its documentation; it shares no code with the client that it checks.
import { Buffer } from "node:buffer";
import { FakeLogin } from "./fake_graph_login.ts";
import type { RegisteredApp } from "./fake_graph_login.ts";
import { type GraphJson, messageIn, readGraphJson } from "./fake_graph_json.ts";
import { readExchangeMail } from "./fake_graph_mime.ts";
import type { AddedFile, ExchangeMail } from "./fake_graph_mime.ts";
import { FaultyHttp } from "./faulty_http.ts";
import type { HttpReply, SeenRequest } from "./faulty_http.ts";
import { Complaint } from "./json_shape.ts";

/** A message in the mailbox. */
export interface GraphMail extends ExchangeMail {
  readonly added: AddedFile[];
  readonly createdAt: Date;
  /** Set by itself, in place of the one in the message. */
  readonly text?: string;
  /** What it says where it did not come as MIME. */
  readonly json?: GraphJson;
}

interface Upload {
  readonly mail: GraphMail;
  readonly file: Omit<AddedFile, "content">;
  readonly size: number;
  content: Buffer;
}

const largestRequest = 4_000_000;

/** One mailbox, one application that may use it. */
export class FakeGraph implements AsyncDisposable {
  readonly sent: GraphMail[] = [];
  readonly drafts = new Map<string, GraphMail>();
  readonly login: FakeLogin;
  /** Who the mailbox may send as. */
  readonly senders = new Set(["a@example.com"]);
  /** Addresses that Exchange takes for none. */
  readonly badAddresses = new Set<string>();
  /** The application may make drafts (Mail.ReadWrite). */
  mayWrite = true;
  readonly user: string;
  readonly #now: () => Date;
  readonly #uploads = new Map<string, Upload>();
  #count = 0;
  #http: FaultyHttp | undefined;

  private constructor(app: RegisteredApp, now: () => Date) {
    this.user = "sender+1@example.com";
    this.#now = now;
    this.login = new FakeLogin(app, now);
  }

  /** Starts one on loopback. */
  static async open(app: RegisteredApp, now: () => Date = () => new Date()): Promise<FakeGraph> {
    const fake = new FakeGraph(app, now);
    fake.#http = await FaultyHttp.open((request) => fake.#answer(request));
    return fake;
  }

  get http(): FaultyHttp {
    if (this.#http === undefined) throw new Error("The server does not run");
    return this.#http;
  }

  /** Puts a draft there that nobody works on. */
  leaveDraft(mime: string, createdAt: Date): string {
    return this.#keep({ ...readExchangeMail(Buffer.from(mime)), added: [] }, createdAt);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.http[Symbol.asyncDispose]();
  }

  #answer(request: SeenRequest): HttpReply {
    const tenant = /^\/([^/]+)\/oauth2\/v2\.0\/token$/.exec(request.target)?.[1];
    if (tenant !== undefined) return this.login.answer(request, tenant);
    if (request.isChunked) return wrong(411, "LengthRequired", "A length is needed");
    if (request.body.length > largestRequest) {
      return wrong(413, "RequestTooLarge", "Request Entity Too Large");
    }
    const upload = /^\/upload\/([^?]+)\?authtoken=secret$/.exec(request.target)?.[1];
    if (upload !== undefined) return this.#takePiece(request, upload);
    if (!this.login.isGood(request.headers.get("authorization"))) {
      return wrong(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.");
    }
    const [, user, path = ""] = /^\/v1\.0\/users\/([^/]+)\/(.*)$/.exec(request.target) ?? [];
    if (user === undefined) return wrong(400, "BadRequest", "Resource not found for the segment");
    if (decodeURIComponent(user) !== this.user) {
      return wrong(404, "ErrorInvalidUser", "The user is not known.");
    }
    if (request.method === "POST" && path === "sendMail") return this.#sendWhole(request);
    if (!this.mayWrite) {
      return wrong(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.");
    }
    return this.#useDrafts(request, path);
  }

  #useDrafts(request: SeenRequest, path: string): HttpReply {
    const { method } = request;
    if (method === "GET" && path === "mailFolders/drafts?$select=id") {
      return { status: 200, body: { id: "AQMk" } };
    }
    if (method === "GET" && path.startsWith("mailFolders/drafts/messages?")) return this.#list(path);
    if (method === "POST" && path === "messages") return this.#create(request);
    const [, encoded, rest] = /^messages\/([^/]+)(?:\/(.+))?$/.exec(path) ?? [];
    const id = decodeURIComponent(encoded ?? "");
    const mail = this.drafts.get(id);
    if (mail === undefined) return wrong(404, "ErrorItemNotFound", "The object was not found in the store.");
    if (method === "DELETE" && rest === undefined) {
      this.drafts.delete(id);
      return { status: 204 };
    }
    if (method === "PATCH" && rest === undefined) return this.#setText(request, id, mail);
    if (method === "POST" && rest === "attachments") return this.#attach(request, mail);
    if (method === "POST" && rest === "attachments/createUploadSession") {
      return this.#openUpload(request, mail);
    }
    if (method === "POST" && rest === "send") {
      if (Buffer.from(request.body).toString().replace("{}", "") !== "") {
        return wrong(400, "BadRequest", "A body");
      }
      const refusal = this.#refusal(mail);
      if (refusal !== undefined) return refusal;
      this.drafts.delete(id);
      this.sent.push(mail);
      return { status: 202 };
    }
    return wrong(400, "BadRequest", `Resource not found for the segment '${rest}'.`);
  }

  #sendWhole(request: SeenRequest): HttpReply {
    const given = mailOf(request, messageIn);
    if ("status" in given) return given;
    const mail = { ...given, createdAt: this.#now() };
    const refusal = this.#refusal(mail);
    if (refusal !== undefined) return refusal;
    this.sent.push(mail);
    return { status: 202 };
  }

  #refusal({ recipients, from }: GraphMail): HttpReply | undefined {
    if (recipients.length === 0 || recipients.some((address) => this.badAddresses.has(address))) {
      return wrong(400, "ErrorInvalidRecipients", "At least one recipient is not valid.");
    }
    if (recipients.length > 500) return wrong(400, "ErrorInvalidRecipients", "Too many recipients.");
    if (from !== "" && !this.senders.has(from)) {
      return wrong(403, "ErrorSendAsDenied", "The user account does not have the right to send as that one.");
    }
    return undefined;
  }

  #create(request: SeenRequest): HttpReply {
    const given = mailOf(request, (message) => message);
    if ("status" in given) return given;
    const id = this.#keep(given, this.#now());
    return { status: 201, body: { id, isDraft: true, createdDateTime: this.#now().toISOString() } };
  }

  #keep(mail: Omit<GraphMail, "createdAt">, createdAt: Date): string {
    const id = `AAMk/${++this.#count}+==`;
    this.drafts.set(id, { ...mail, createdAt });
    return id;
  }

  #list(path: string): HttpReply {
    const query = new URLSearchParams(path.slice(path.indexOf("?") + 1));
    const name =
      /^singleValueExtendedProperties\/Any\(ep: ep\/id eq 'String \{00020386-0000-0000-C000-000000000046\} Name ([\w-]+)' and ep\/value ne null\)$/
        .exec(query.get("$filter") ?? "")?.[1];
    if (name === undefined || query.get("$select") !== "id,isDraft,createdDateTime") {
      return wrong(400, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.");
    }
    const value = [...this.drafts].filter(([, { headers }]) => headers.has(name)).map((
      [id, { createdAt }],
    ) => ({
      id,
      isDraft: true,
      createdDateTime: createdAt.toISOString(),
    }));
    return { status: 200, body: { value } };
  }

  #attach(request: SeenRequest, mail: GraphMail): HttpReply {
    const given = jsonOf(request);
    const file = fileOf(given);
    const content = typeof given["contentBytes"] === "string"
      ? strictBase64(given["contentBytes"])
      : undefined;
    if (
      given["@odata.type"] !== "#microsoft.graph.fileAttachment" || file === undefined ||
      content === undefined
    ) {
      return wrong(400, "UnableToDeserializePostBody", "were unable to deserialize");
    }
    if (content.length >= 3 * 1024 * 1024) return wrong(413, "ErrorAttachmentSizeLimitExceeded", "Too large");
    mail.added.push({ ...file, content });
    return { status: 201, body: { id: `att-${mail.added.length}` } };
  }

  #setText(request: SeenRequest, id: string, mail: GraphMail): HttpReply {
    const { body, ...more } = jsonOf(request);
    const { contentType, content } = (body ?? {}) as Record<string, unknown>;
    if (
      Object.keys(more).length > 0 || !/^(text|html)$/.test(`${contentType}`) || typeof content !== "string"
    ) {
      return wrong(400, "UnableToDeserializePostBody", "were unable to deserialize");
    }
    this.drafts.set(id, { ...mail, text: content });
    return { status: 200, body: { id } };
  }

  #openUpload(request: SeenRequest, mail: GraphMail): HttpReply {
    const item = jsonOf(request)["AttachmentItem"] as Record<string, unknown> | undefined;
    const file = fileOf(item ?? {});
    const size = item?.["size"];
    if (
      item?.["attachmentType"] !== "file" || file === undefined || typeof size !== "number" || size > 150e6
    ) {
      return wrong(400, "ErrorInvalidRequest", "The attachment item is not valid");
    }
    const id = `${++this.#count}`;
    this.#uploads.set(id, { mail, file, size, content: Buffer.alloc(0) });
    const uploadUrl = `${this.http.origin}/upload/${id}?authtoken=secret`;
    return {
      status: 201,
      body: { uploadUrl, nextExpectedRanges: ["0-"], expirationDateTime: "2030-01-01T00:00:00Z" },
    };
  }

  #takePiece(request: SeenRequest, id: string): HttpReply {
    const upload = this.#uploads.get(id);
    if (upload === undefined) return wrong(404, "ErrorItemNotFound", "No such session");
    if (request.headers.has("authorization")) {
      return wrong(401, "InvalidAuthenticationToken", "No token is wanted");
    }
    const { body, headers } = request;
    const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers.get("content-range") ?? "")?.slice(1).map(Number);
    const [from, to, size] = range ?? [];
    const isRight = from === upload.content.length && to === from + body.length - 1 && size === upload.size;
    if (request.method !== "PUT" || !isRight || headers.get("content-type") !== "application/octet-stream") {
      return wrong(416, "InvalidRange", `The range is not valid: ${headers.get("content-range")}`);
    }
    upload.content = Buffer.concat([upload.content, body]);
    if (upload.content.length < upload.size) {
      return { status: 200, body: { nextExpectedRanges: [`${upload.content.length}`] } };
    }
    upload.mail.added.push({ ...upload.file, content: upload.content });
    this.#uploads.delete(id);
    return { status: 201, headers: { Location: `${this.http.origin}/Attachments('x')` } };
  }
}

function wrong(status: number, code: string, message: string): HttpReply {
  return {
    status,
    headers: { "request-id": "11111111-2222-3333-4444-555555555555" },
    body: { error: { code, message, innerError: { "request-id": "1", date: "2026-11-23T00:00:00" } } },
  };
}

/** The message of a request, which came as JSON or as MIME; or what is wrong with it. */
function mailOf(
  request: SeenRequest,
  find: (json: unknown) => unknown,
): Omit<GraphMail, "createdAt"> | HttpReply {
  if (/^application\/json(;|$)/.test(request.headers.get("content-type") ?? "")) {
    try {
      return readGraphJson(find(jsonOf(request)));
    } catch (error) {
      if (!(error instanceof Complaint)) throw error;
      return wrong(400, "UnableToDeserializePostBody", error.message);
    }
  }
  const mime = mimeOf(request);
  return "status" in mime ? mime : { ...readExchangeMail(mime), added: [] };
}

function mimeOf(request: SeenRequest): Buffer | HttpReply {
  if (!/^text\/plain(;|$)/.test(request.headers.get("content-type") ?? "")) {
    return wrong(415, "RequestBodyRead", "The media type is not supported");
  }
  return strictBase64(Buffer.from(request.body).toString("latin1")) ??
    wrong(400, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.");
}

function strictBase64(text: string): Buffer | undefined {
  if (text === "" || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  return Buffer.from(text, "base64");
}

function jsonOf(request: SeenRequest): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(request.body).toString());
}

function fileOf(given: Readonly<Record<string, unknown>>): Omit<AddedFile, "content"> | undefined {
  const { name, contentType, contentId, isInline } = given;
  if (typeof name !== "string" || name === "" || typeof contentType !== "string") return undefined;
  if (typeof isInline !== "boolean" || (contentId !== undefined && typeof contentId !== "string")) {
    return undefined;
  }
  return { name, contentType, isInline, ...(contentId === undefined ? {} : { contentId }) };
}
