// Microsoft's own client of Graph for JavaScript, used by tests alone; the only file that knows
// @microsoft/microsoft-graph-client.
import {
  AuthenticationHandler,
  Client,
  type Context,
  FileUpload,
  LargeFileUploadTask,
  type Middleware,
} from "@microsoft/microsoft-graph-client";
import { Buffer } from "node:buffer";
import type { FakeGraph, GraphMail } from "./fake_graph.ts";
import { app } from "./graph_app.ts";
import { mimeOf, type SampleBox, type SampleFile, type SampleMail } from "./sample_mails.ts";
import {
  boxText,
  seenBy,
  seenFile,
  seenHeaders,
  seenInMime,
  type SeenMail,
  seenText,
  sorted,
} from "./seen_mail.ts";

const graph = "https://graph.microsoft.com";
/** Where parts of attachments go, by URLs that Graph names. */
const uploads = "https://outlook.office.com";
/** From here on an attachment goes up in pieces. */
const largeFrom = 3 * 1024 * 1024;

/**
 * The client gives its token to nobody but Graph's own hosts by HTTPS, so the last of its steps, the one that makes the
 * request, is one that goes to the server on loopback instead. All that is asked is the client's own.
 */
class LocalTransport implements Middleware {
  constructor(readonly origin: string) {}

  async execute(context: Context): Promise<void> {
    const url = String(context.request).replace(graph, this.origin).replace(uploads, this.origin);
    const { status, headers, ...response } = await answerOf(url, context.options as RequestInit);
    const text = response.text.replaceAll(this.origin, uploads);
    context.response = new Response(text === "" ? null : text, { status, headers });
  }
}

/** The client leaves bodies unread that it does not need. */
async function answerOf(url: string, options: RequestInit) {
  const response = await fetch(url, options);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** Sends a message in JSON, as the documentation of `sendMail` has it; with a large file by a draft. */
export async function sendByGraphJson(mail: SampleMail, fake: FakeGraph): Promise<void> {
  const client = clientOf(fake);
  const user = `/users/${encodeURIComponent(fake.user)}`;
  const large = mail.files.filter(({ content }) => content.length >= largeFrom);
  const message = messageOf(mail, mail.files.filter((file) => !large.includes(file)));
  if (large.length === 0) {
    await client.api(`${user}/sendMail`).post({ message, saveToSentItems: true });
    return;
  }
  const draft = await client.api(`${user}/messages`).post(message) as { readonly id: string };
  const path = `${user}/messages/${encodeURIComponent(draft.id)}`;
  for (const file of large) {
    const { content, name } = file;
    const item = { attachmentType: "file", size: content.length, ...labelsOf(file) };
    const session = await LargeFileUploadTask.createUploadSession(
      client,
      `${path}/attachments/createUploadSession`,
      { AttachmentItem: item },
    );
    const task = new LargeFileUploadTask(client, new FileUpload(content, name, content.length), session, {
      rangeSize: 10 * 320 * 1024,
    });
    await task.upload();
  }
  await client.api(`${path}/send`).post({});
}

/** Sends a message as MIME; its recipients stand in its header, the blind ones too. */
export async function sendByGraphMime(mail: SampleMail, fake: FakeGraph): Promise<void> {
  const mime = await mimeOf(mail, true);
  await clientOf(fake).api(`/users/${encodeURIComponent(fake.user)}/sendMail`)
    .header("Content-Type", "text/plain").post(mime.toString("base64"));
}

/** What a message in a mailbox says. */
export function seenByGraph(mail: GraphMail): SeenMail {
  const files = mail.added.map(({ contentType, isInline, name, contentId, content }) =>
    seenFile(
      { type: contentType, disposition: isInline ? "inline" : "attachment", name, contentId },
      content,
    )
  );
  if (mail.json === undefined) {
    const seen = seenInMime(mail.visible, mail.recipients);
    return { ...seen, parts: sorted([...seen.parts, ...files]) };
  }
  const { from, to, cc, replyTo, subject, bodyType, content, headers } = mail.json;
  const texts = (boxes: readonly { readonly address: string; readonly name: string }[]) =>
    boxes.map(({ address, name }) => boxText(address, name));
  return {
    ...seenBy([{ recipients: mail.recipients, to: texts(to), cc: texts(cc) }]),
    from: texts([from]).join(),
    replyTo: texts(replyTo),
    subject,
    headers: seenHeaders(headers),
    parts: sorted([seenText(bodyType, content), ...files]),
  };
}

function clientOf(fake: FakeGraph): Client {
  const middleware = new AuthenticationHandler({ getAccessToken: () => tokenOf(fake) });
  middleware.setNext(new LocalTransport(fake.http.origin));
  return Client.initWithMiddleware({ middleware, baseUrl: `${graph}/` });
}

async function tokenOf(fake: FakeGraph): Promise<string> {
  const response = await fetch(`${fake.http.origin}/${app.tenant}/oauth2/v2.0/token`, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({
      grant_type: "client_credentials",
      client_id: app.clientId,
      client_secret: app.secret,
      scope: `${graph}/.default`,
    }).toString(),
  });
  return (await response.json() as { readonly access_token: string }).access_token;
}

/** A message in JSON has one body: the best of its texts, as far as it may be HTML. */
function messageOf(mail: SampleMail, files: readonly SampleFile[]) {
  const html = mail.texts.find(({ type }) => type === "text/html");
  const body = html ?? mail.texts.find(({ type }) => type === "text/plain");
  const headers = Object.entries(mail.headers).filter(([name]) => /^x-/i.test(name));
  return {
    subject: mail.subject,
    body: { contentType: html === undefined ? "Text" : "HTML", content: body?.value ?? "" },
    from: boxOf(mail.from),
    toRecipients: mail.to.map(boxOf),
    ccRecipients: mail.cc.map(boxOf),
    bccRecipients: mail.bcc.map((address) => boxOf({ address })),
    ...(mail.replyTo.length === 0 ? {} : { replyTo: mail.replyTo.map(boxOf) }),
    ...(headers.length === 0
      ? {}
      : { internetMessageHeaders: headers.map(([name, value]) => ({ name, value })) }),
    ...(files.length === 0 ? {} : {
      attachments: files.map((file) => ({
        "@odata.type": "#microsoft.graph.fileAttachment",
        ...labelsOf(file),
        contentBytes: Buffer.from(file.content).toString("base64"),
      })),
    }),
  };
}

function labelsOf({ name, type, contentId }: SampleFile) {
  return {
    name,
    contentType: type,
    isInline: contentId !== undefined,
    ...(contentId === undefined ? {} : { contentId }),
  };
}

function boxOf({ address, name }: SampleBox) {
  return { emailAddress: name === undefined ? { address } : { address, name } };
}
