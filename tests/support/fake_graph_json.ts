// A message as Graph takes it in JSON, as strict as its documentation.
import { Buffer } from "node:buffer";
import type { AddedFile, ExchangeMail } from "./fake_graph_mime.ts";
import { Complaint, isObject, type Json, known, list, text } from "./json_shape.ts";

/** Somebody in a message. */
export interface GraphBox {
  readonly address: string;
  readonly name: string;
}

/** A message that came in JSON. */
export interface GraphJsonMail extends ExchangeMail {
  readonly json: GraphJson;
  readonly added: AddedFile[];
}

/** What the JSON says. */
export interface GraphJson {
  readonly from: GraphBox;
  readonly to: readonly GraphBox[];
  readonly cc: readonly GraphBox[];
  readonly replyTo: readonly GraphBox[];
  readonly subject: string;
  readonly bodyType: "text/plain" | "text/html";
  readonly content: string;
  readonly headers: Readonly<Record<string, string>>;
}

const keys = [
  "subject",
  "body",
  "from",
  "toRecipients",
  "ccRecipients",
  "bccRecipients",
  "replyTo",
  "internetMessageHeaders",
  "attachments",
];

/** Reads a message; throws a `Complaint` where Graph would. */
export function readGraphJson(value: unknown): GraphJsonMail {
  const given = known(value, "message", keys);
  const body = known(given["body"], "body", ["contentType", "content"]);
  const boxes = (name: string) => list(given[name] ?? [], name, 0, 500).map((item) => boxOf(item, name));
  const [to, cc, bcc] = [boxes("toRecipients"), boxes("ccRecipients"), boxes("bccRecipients")];
  const from = boxOf(given["from"], "from");
  const headers = "internetMessageHeaders" in given ? headersOf(given["internetMessageHeaders"]) : {};
  const json = {
    from,
    to,
    cc,
    replyTo: boxes("replyTo"),
    subject: text(given["subject"], "subject", 0),
    bodyType: /^html$/i.test(text(body["contentType"], "contentType", 4, 4, /^(text|html)$/i))
      ? "text/html" as const
      : "text/plain" as const,
    content: text(body["content"], "content", 0),
    headers,
  };
  return {
    json,
    added: list(given["attachments"] ?? [], "attachments", 0).map(fileOf),
    recipients: [...to, ...cc, ...bcc].map(({ address }) => address.toLowerCase()),
    from: from.address.toLowerCase(),
    visible: Buffer.alloc(0),
    headers: new Map(Object.entries(headers)),
  };
}

function boxOf(value: unknown, at: string): GraphBox {
  const { address, name = "" } = known(known(value, at, ["emailAddress"])["emailAddress"], at, [
    "address",
    "name",
  ]);
  return { address: text(address, at, 3, 320, /^[\x21-\x7e]+@[a-z0-9.-]+$/i), name: text(name, at, 0, 500) };
}

/** One to five, and none but fields of one's own: the service says so of each. */
function headersOf(value: unknown): Readonly<Record<string, string>> {
  return Object.fromEntries(
    list(value, "internetMessageHeaders", 1, 5).map((item) => {
      const { name, value } = known(item, "internetMessageHeaders", ["name", "value"]);
      return [text(name, "name", 3, 200, /^x-[\x21-\x39\x3b-\x7e]+$/i), text(value, "value", 0, 10_000)];
    }),
  );
}

function fileOf(value: unknown): AddedFile {
  const given = known(value, "attachments", [
    "@odata.type",
    "name",
    "contentType",
    "contentBytes",
    "contentId",
    "isInline",
  ]);
  if (given["@odata.type"] !== "#microsoft.graph.fileAttachment") throw new Complaint("kind", "attachments");
  if (typeof given["isInline"] !== "boolean") throw new Complaint("is no boolean", "isInline");
  const base64 = text(given["contentBytes"], "contentBytes", 1, 4_000_000, /^[A-Za-z0-9+/]+={0,2}$/);
  return {
    name: text(given["name"], "name", 1),
    contentType: text(given["contentType"], "contentType", 3),
    isInline: given["isInline"],
    content: Buffer.from(base64, "base64"),
    ...("contentId" in given ? { contentId: text(given["contentId"], "contentId", 1) } : {}),
  };
}

/** The message of a request to `sendMail`. */
export function messageIn(value: unknown): Json {
  const { message } = known(value, "", ["message", "saveToSentItems"]);
  if (!isObject(message)) throw new Complaint("is no object", "message");
  return message;
}
