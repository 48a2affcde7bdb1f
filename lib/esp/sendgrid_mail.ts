import type { Message } from "../messages/message.ts";
import { Utf8Watch } from "../mime/charset.ts";
import { asciiAddress, parseMailbox } from "../mime/address.ts";
import { namedMailboxes } from "../mime/mailboxes.ts";
import type { NamedMailbox } from "../mime/mailboxes.ts";
import { fieldText } from "../mime/parse.ts";
import type { Attachment, MessageBody, ParsedMessage } from "../mime/parse.ts";
import { breathe } from "../mime/parts.ts";
import { base64Of, JsonBytes } from "./json_bytes.ts";
import type { Fault } from "./outcome.ts";
import { controlsOf } from "./sendgrid_control.ts";
import type { SendgridControls } from "./sendgrid_control.ts";
import { sendgridHeaders } from "./sendgrid_headers.ts";
import type { Personalization, SendgridAddress } from "./sendgrid_recipients.ts";

/** What a request says beside its message. */
export interface MailContext {
  readonly message: Message;
  /** Correlation: comes back with every event about the mail. */
  readonly customArgs: Readonly<Record<string, string>>;
  /** Names of fields to leave out, in lower case; beginnings of names end in `*`. */
  readonly dropped: readonly string[];
  readonly passControls: boolean;
}

/** A message as SendGrid's v3 mail/send takes it, without its recipients. */
export interface SendgridMail {
  readonly from: SendgridAddress;
  readonly to: readonly NamedMailbox[];
  readonly cc: readonly NamedMailbox[];
  /** Attachments without a byte, which the API has no way to say. */
  readonly leftOut: number;
  /** The request's body for these recipients; several turns pass while a large one is written. */
  json(personalizations: readonly Personalization[]): Promise<Uint8Array>;
}

const mostReplyTo = 1000;

/** Says a message in SendGrid's words; a fault instead when nobody can be named as its sender. */
export function sendgridMail(parsed: ParsedMessage, context: MailContext): SendgridMail | Fault {
  const list = (name: string) =>
    parsed.fields.filter((field) => field.name.toLowerCase() === name).flatMap(({ value }) =>
      namedMailboxes(value)
    );
  const from = senderOf(list("from"), context.message.mailFrom);
  if ("code" in from) return from;
  const attachments = parsed.attachments.filter(isFilled);
  const head = JSON.stringify({
    from,
    ...replyTo(asciiOnly(list("reply-to"))),
    subject: subjectOf(parsed),
    ...optionsOf(parsed, context),
  });
  return {
    from,
    to: list("to"),
    cc: list("cc"),
    leftOut: parsed.attachments.length - attachments.length,
    json: async (personalizations) => {
      const recipients = JSON.stringify(personalizations);
      const json = new JsonBytes(recipients.length + head.length + sizeOf(parsed.bodies, attachments));
      json.raw(`{"personalizations":${recipients},${head.slice(1, -1)},"content":[`);
      await writeBodies(json, parsed.bodies);
      json.raw("]");
      if (attachments.length > 0) await writeAttachments(json, attachments);
      json.raw("}");
      return json.bytes();
    },
  };
}

function asciiOnly(mailboxes: readonly NamedMailbox[]): readonly SendgridAddress[] {
  const found = new Map<string, SendgridAddress>();
  for (const { address, name } of mailboxes) {
    const email = asciiAddress(address);
    if (email === undefined || found.has(email.toLowerCase())) continue;
    found.set(email.toLowerCase(), name === undefined ? { email } : { email, name });
  }
  return [...found.values()];
}

/** The first address of From; the envelope's where From names none. */
function senderOf(from: readonly NamedMailbox[], mailFrom: string): SendgridAddress | Fault {
  const envelope = parseMailbox(mailFrom);
  const given = from.length > 0 || envelope === undefined ? from : [envelope];
  const [sender] = asciiOnly(given);
  if (sender !== undefined) return sender;
  return given.length === 0
    ? {
      blame: "message",
      code: "from_missing",
      detail: "SendGrid needs a sender: neither From nor the envelope names one",
    }
    : {
      blame: "message",
      code: "smtputf8_unsupported",
      detail: `SendGrid lacks SMTPUTF8: ${given[0]?.address} needs it`,
    };
}

function replyTo(addresses: readonly SendgridAddress[]) {
  if (addresses.length === 0) return {};
  return addresses.length === 1
    ? { reply_to: addresses[0] }
    : { reply_to_list: addresses.slice(0, mostReplyTo) };
}

/** The API takes no empty subject. */
function subjectOf({ fields }: ParsedMessage): string {
  const field = fields.find(({ name }) => name.toLowerCase() === "subject");
  return fieldText(field?.value ?? "") || " ";
}

function optionsOf({ fields }: ParsedMessage, { customArgs, dropped, passControls }: MailContext) {
  const headers = sendgridHeaders(fields, dropped);
  const { categories, customArgs: wished, sendAt, unsubscribeGroup, ipPool } = passControls
    ? controlsOf(fields)
    : none;
  return {
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
    ...(categories === undefined ? {} : { categories }),
    ...(sendAt === undefined ? {} : { send_at: sendAt }),
    ...(unsubscribeGroup === undefined ? {} : { asm: { group_id: unsubscribeGroup } }),
    ...(ipPool === undefined ? {} : { ip_pool_name: ipPool }),
    custom_args: { ...wished, ...customArgs },
  };
}

const none: SendgridControls = {};

function isFilled({ bytes }: Attachment): boolean {
  for (const _piece of bytes()) return true;
  return false;
}

function sizeOf(bodies: readonly MessageBody[], attachments: readonly Attachment[]): number {
  const text = bodies.reduce((sum, { size }) => sum + Math.ceil(1.15 * size) + 200, 1000);
  // What is still in base64 does not grow by being base64.
  return attachments.reduce((sum, { size, isBase64, fileName }) => {
    return sum + (isBase64 ? size : Math.ceil(size * 4 / 3)) + 6 * fileName.length + 500;
  }, text);
}

async function writeBodies(json: JsonBytes, bodies: readonly MessageBody[]): Promise<void> {
  if (bodies.length === 0) json.raw('{"type":"text/plain","value":" "}');
  for (const [index, { type, text }] of bodies.entries()) {
    json.raw(`${index === 0 ? "" : ","}{"type":${JSON.stringify(type)},"value":"`);
    let count = 0;
    for (const piece of text()) {
      json.escaped(piece);
      if (++count % turnPieces === 0) await breathe();
    }
    // The API takes no empty text either.
    json.raw(count === 0 ? ' "}' : '"}');
  }
}

const turnPieces = 5;

async function writeAttachments(json: JsonBytes, attachments: readonly Attachment[]): Promise<void> {
  for (const [index, file] of attachments.entries()) {
    json.raw(`${index === 0 ? ',"attachments":[' : ","}{"content":"`);
    const watch = new Utf8Watch();
    let count = 0;
    for (const piece of base64Of(watched(file.bytes(), watch))) {
      json.raw(piece);
      if (++count % turnPieces === 0) await breathe();
    }
    json.raw(`",${JSON.stringify(labelsOf(file, watch.isWhole)).slice(1)}`);
  }
  json.raw("]");
}

function labelsOf({ type, fileName, isInline, contentId }: Attachment, isUtf8: boolean) {
  return {
    filename: fileName,
    // SendGrid names no charset or a wrong one for text, so that other bytes would be read as something else.
    type: type.startsWith("text/") && !isUtf8 ? "application/octet-stream" : type,
    disposition: isInline ? "inline" : "attachment",
    ...(contentId === undefined || /[;,<>\s]/.test(contentId) ? {} : { content_id: contentId }),
  };
}

function* watched(pieces: Iterable<Uint8Array>, watch: Utf8Watch): Generator<Uint8Array> {
  for (const piece of pieces) {
    watch.look(piece);
    yield piece;
  }
}
