// Typical messages, described once: as a program hands them to the SDK of a service, and as the same program's library
// writes them for SMTP.
// @ts-types="@types/nodemailer"
import nodemailer from "nodemailer";
import { Buffer } from "node:buffer";

/** Somebody in From, To, Cc or Reply-To. */
export interface SampleBox {
  readonly address: string;
  readonly name?: string;
}

/** A file that goes with a message; one with an id is shown within its text. */
export interface SampleFile {
  readonly name: string;
  readonly type: string;
  readonly content: Buffer;
  readonly contentId?: string;
}

/** A message as a program thinks of it. */
export interface SampleMail {
  readonly what: string;
  readonly from: SampleBox;
  readonly to: readonly SampleBox[];
  readonly cc: readonly SampleBox[];
  readonly bcc: readonly string[];
  readonly replyTo: readonly SampleBox[];
  readonly subject: string;
  /** In the order in which readers prefer them: the last is the best. */
  readonly texts: readonly { readonly type: string; readonly value: string }[];
  readonly files: readonly SampleFile[];
  readonly headers: Readonly<Record<string, string>>;
}

const boundary = "sample";

/** Fields that SDKs leave to their service, and that a message for SMTP has already. */
export const writtenFields = {
  "message-id": "<sample@example.com>",
  date: "Mon, 23 Nov 2026 00:00:00 +0000",
};

/** The whole envelope: everybody that the message names, in the order To, Cc, Bcc. */
export function recipientsOf({ to, cc, bcc }: SampleMail): readonly string[] {
  return [...to, ...cc].map(({ address }) => address).concat(bcc);
}

/** The message as mail programs write it; Bcc stands in its header only where that is asked for. */
export async function mimeOf(mail: SampleMail, keepBcc: boolean): Promise<Buffer> {
  const composer = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: "windows" });
  const box = ({ address, name = "" }: SampleBox) => ({ address, name });
  const valueOf = (type: string) => mail.texts.find((text) => text.type === type)?.value;
  const [text, html, calendar] = ["text/plain", "text/html", "text/calendar"].map(valueOf);
  const composed = await composer.sendMail({
    from: box(mail.from),
    to: mail.to.map(box),
    cc: mail.cc.map(box),
    bcc: keepBcc ? [...mail.bcc] : [],
    replyTo: mail.replyTo.map(box),
    subject: mail.subject,
    ...(text === undefined ? {} : { text }),
    ...(html === undefined ? {} : { html }),
    ...(calendar === undefined
      ? {}
      : { alternatives: [{ contentType: "text/calendar; method=REQUEST", content: calendar }] }),
    attachments: mail.files.map(({ name, type, content, contentId }) => ({
      filename: name,
      contentType: type,
      content,
      ...(contentId === undefined
        ? { contentDisposition: "attachment" as const }
        : { cid: contentId, contentDisposition: "inline" as const }),
    })),
    headers: { ...mail.headers },
    messageId: writtenFields["message-id"],
    date: new Date(writtenFields.date),
    // The same message is the same bytes, however often it is written.
    ...{ baseBoundary: boundary },
  });
  if (!(composed.message instanceof Uint8Array)) throw new Error("The composer answered no bytes");
  return Buffer.from(composed.message);
}

const ann = { address: "a@example.com", name: "Ann" };
const bob = { address: "bob@example.org", name: "Bob" };
const plain = { type: "text/plain", value: "Hello Bob\n.\n..\nBye" };
const html = { type: "text/html", value: "<p>Hello <b>Bob</b></p>" };
const picture = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");

function sample(what: string, changes: Partial<SampleMail> = {}): SampleMail {
  return {
    what,
    from: ann,
    to: [bob],
    cc: [],
    bcc: [],
    replyTo: [],
    subject: "Hello",
    texts: [plain],
    files: [],
    headers: {},
    ...changes,
  };
}

function textFile(name: string, type = "text/plain", content = Buffer.from(`in ${name}\r\n`)): SampleFile {
  return { name, type, content };
}

const forwarded = "From: x@example.net\r\nTo: y@example.net\r\nSubject: Inner\r\n\r\nInner text\r\n";
const invitation = [
  "BEGIN:VCALENDAR",
  "VERSION:2.0",
  "PRODID:-//Example//EN",
  "METHOD:REQUEST",
  "BEGIN:VEVENT",
  "UID:1@example.com",
  "DTSTAMP:20261123T000000Z",
  "DTSTART:20261124T090000Z",
  "SUMMARY:Gespräch",
  "END:VEVENT",
  "END:VCALENDAR",
].join("\r\n");

/** What programs send every day. */
export const sampleMails: readonly SampleMail[] = [
  sample("a plain text"),
  sample("a text and its HTML", { texts: [plain, html] }),
  sample("HTML alone", { texts: [html] }),
  sample("names and a subject of other alphabets", {
    from: { address: "a@example.com", name: "Änne Größe" },
    to: [{ address: "bob@example.org", name: "山田太郎" }],
    subject: "Größe 寸法 📏 und noch viel mehr, so daß es in keine einzelne Zeile des Kopfes paßt",
    texts: [{ type: "text/plain", value: "Grüße, 山田さん 📏" }],
  }),
  sample("names with punctuation", {
    from: { address: "a@example.com", name: 'Doe, Ann (Sales) "A."' },
    to: [{ address: "bob@example.org", name: "O'Hara; Bob <x>" }, { address: "plain@example.org" }],
  }),
  sample("several in To, Cc and Bcc", {
    to: [bob, { address: "carl@example.org", name: "Carl" }, { address: "dora@example.org" }],
    cc: [{ address: "emil@example.net", name: "Emil" }, { address: "fred@example.net" }],
    bcc: ["hidden1@example.net", "hidden2@example.net"],
  }),
  sample("nobody but Bcc", { to: [], bcc: ["hidden1@example.net", "hidden2@example.net"] }),
  sample("Cc and Bcc beside one in To", {
    cc: [{ address: "emil@example.net" }],
    bcc: ["hidden1@example.net"],
    texts: [plain, html],
  }),
  sample("an address in upper case", { to: [{ address: "Bob.Upper@example.org", name: "Bob" }] }),
  sample("a domain with an umlaut", { to: [{ address: "bob@xn--bcher-kva.example" }] }),
  sample("one to reply to", { replyTo: [{ address: "reply@example.com", name: "Antwort für Ann" }] }),
  sample("several to reply to", {
    replyTo: [{ address: "reply1@example.com", name: "One" }, { address: "reply2@example.com" }],
  }),
  sample("an attachment", { files: [textFile("report.csv", "text/csv", Buffer.from("a,b\r\n1,2\r\n"))] }),
  sample("attachments with odd names", {
    files: [
      textFile("Angebot Größe €.txt"),
      textFile("見積書.txt"),
      textFile('a "quoted" name.txt'),
      textFile("semi; colon, and 'comma'.txt"),
      textFile(`${"long ".repeat(30)}ünd.txt`),
      textFile("100% sure.txt"),
      textFile("no extension"),
    ],
  }),
  sample("the same file twice", { files: [textFile("twice.txt"), textFile("twice.txt")] }),
  sample("binary files of some size", {
    texts: [plain, html],
    files: [
      { name: "a.pdf", type: "application/pdf", content: Buffer.alloc(200_001, "%PDF-1.7\n\0\xff\r") },
      { name: "b.zip", type: "application/zip", content: Buffer.alloc(65_536, 0xfe) },
    ],
  }),
  sample("a text file that is no UTF-8", {
    files: [textFile("latin1.txt", "text/plain", Buffer.from("Gr\xfc\xdfe\r\n", "latin1"))],
  }),
  sample("an image within HTML", {
    texts: [plain, { type: "text/html", value: '<p><img src="cid:logo@example.com"></p>' }],
    files: [{ name: "logo.png", type: "image/png", content: picture, contentId: "logo@example.com" }],
  }),
  sample("images within HTML and a file beside", {
    texts: [{ type: "text/html", value: '<img src="cid:one@x"><img src="cid:two@x">' }],
    files: [
      { name: "eins.png", type: "image/png", content: picture, contentId: "one@x" },
      { name: "zwei.gif", type: "image/gif", content: Buffer.from("GIF89a\0"), contentId: "two@x" },
      textFile("note.txt"),
    ],
  }),
  sample("an invitation", {
    texts: [plain, html, { type: "text/calendar", value: invitation }],
  }),
  sample("a forwarded message", {
    files: [{ name: "forwarded.eml", type: "message/rfc822", content: Buffer.from(forwarded) }],
  }),
  sample("fields of its own", {
    headers: { "X-Order": "4711", "X-Customer-Name": "Jörg Groß" },
  }),
  sample("a thread and a list", {
    headers: {
      "In-Reply-To": "<before@example.com>",
      References: "<first@example.com> <before@example.com>",
      "List-Unsubscribe": "<https://example.com/u/1>, <mailto:u@example.com>",
      "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
      "List-Id": "News <news.example.com>",
      "Auto-Submitted": "auto-generated",
    },
  }),
  sample("no subject", { subject: "" }),
  sample("no text but a file", { texts: [], files: [textFile("alone.txt")] }),
  sample("a text in lines that are wrapped on the way", {
    texts: [{ type: "text/plain", value: `${"Words and words. ".repeat(40)}\n\nFrom here on\n> quoted` }],
  }),
  sample("lines of every length", {
    texts: [{ type: "text/plain", value: `${"x".repeat(3000)}\n\n${"=20 ü ".repeat(300)}\n  two spaces  ` }],
  }),
];
