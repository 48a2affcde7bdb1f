// SendGrid's own client for JavaScript, used by tests alone; the only file that knows @sendgrid/mail.
import sendgrid from "@sendgrid/mail";
import { Buffer } from "node:buffer";
import type { SampleBox, SampleMail } from "./sample_mails.ts";
import { boxText, seenBy, seenFile, seenHeaders, type SeenMail, seenText, sorted } from "./seen_mail.ts";

/** As far as it is used: the typings do not tell of `client`, by which its documentation sets another host. */
interface MailService {
  readonly client: {
    setApiKey(key: string): void;
    setDefaultRequest(name: "baseUrl", value: string): void;
  };
  send(data: unknown, isMultiple?: boolean): Promise<unknown>;
}

/** Sends a message as a program does that uses the SDK, to the service at this origin. */
export async function sendBySendgridSdk(mail: SampleMail, origin: string, key: string): Promise<void> {
  const service = sendgrid as unknown as MailService;
  service.client.setApiKey(key);
  service.client.setDefaultRequest("baseUrl", `${origin}/`);
  const isBlind = mail.to.length === 0;
  const replyTo = mail.replyTo.map(boxOf);
  await service.send({
    from: boxOf(mail.from),
    to: isBlind ? [...mail.bcc] : mail.to.map(boxOf),
    ...(mail.cc.length === 0 ? {} : { cc: mail.cc.map(boxOf) }),
    ...(isBlind || mail.bcc.length === 0 ? {} : { bcc: [...mail.bcc] }),
    ...(replyTo.length === 1 ? { replyTo: replyTo[0] } : {}),
    ...(replyTo.length > 1 ? { replyToList: replyTo } : {}),
    // The API takes neither an empty subject nor an empty text.
    subject: mail.subject || " ",
    content: mail.texts.length === 0 ? [{ type: "text/plain", value: " " }] : mail.texts.map((text) => text),
    ...(mail.files.length === 0 ? {} : {
      attachments: mail.files.map(({ name, type, content, contentId }) => ({
        filename: name,
        type,
        content: content.toString("base64"),
        disposition: contentId === undefined ? "attachment" : "inline",
        ...(contentId === undefined ? {} : { content_id: contentId }),
      })),
    }),
    // It takes ASCII alone here.
    headers: Object.fromEntries(
      Object.entries(mail.headers).map((
        [name, value],
      ) => [name, /^[ -~]*$/.test(value) ? value : `=?utf-8?B?${Buffer.from(value).toString("base64")}?=`]),
    ),
  }, isBlind);
}

interface Box {
  readonly email: string;
  readonly name?: string;
}

interface Request {
  readonly personalizations: readonly {
    readonly to: readonly Box[];
    readonly cc?: readonly Box[];
    readonly bcc?: readonly Box[];
    readonly headers?: Readonly<Record<string, string>>;
  }[];
  readonly from: Box;
  readonly "reply_to"?: Box;
  readonly "reply_to_list"?: readonly Box[];
  readonly subject: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly content: readonly { readonly type: string; readonly value: string }[];
  readonly attachments?: readonly {
    readonly filename: string;
    readonly type: string;
    readonly content: string;
    readonly disposition: "inline" | "attachment";
    readonly content_id?: string;
  }[];
}

/** What a request that SendGrid took says. */
export function seenBySendgrid(body: string): SeenMail {
  const request = JSON.parse(body) as Request;
  const texts = (boxes: readonly Box[] = []) => boxes.map(({ email, name }) => boxText(email, name));
  const copies = request.personalizations.map(({ to, cc = [], bcc = [] }) => ({
    recipients: [...to, ...cc, ...bcc].map(({ email }) => email),
    to: texts(to),
    cc: texts(cc),
  }));
  const files = (request.attachments ?? []).map(({ filename, type, disposition, content, content_id }) =>
    seenFile({ type, disposition, name: filename, contentId: content_id }, Buffer.from(content, "base64"))
  );
  return {
    ...seenBy(copies),
    from: texts([request.from]).join(),
    replyTo: texts(request.reply_to_list ?? (request.reply_to === undefined ? [] : [request.reply_to])),
    subject: request.subject,
    headers: seenHeaders({ ...request.headers, ...request.personalizations[0]?.headers }),
    parts: sorted([...request.content.map(({ type, value }) => seenText(type, value)), ...files]),
  };
}

function boxOf({ address, name }: SampleBox): Box {
  return name === undefined ? { email: address } : { email: address, name };
}
