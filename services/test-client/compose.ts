// @ts-types="@types/nodemailer"
import nodemailer from "nodemailer";
import { Buffer } from "node:buffer";

/** A file to attach, already read. */
export interface AttachedFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What a test mail says. */
export interface MailText {
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly body: string;
  /** Empty for none. */
  readonly html: string;
  readonly files: readonly AttachedFile[];
}

/** Builds the mail numbered `number` of `count` as RFC 5322 bytes; with several each says which one it is. */
export async function composeMail(text: MailText, number: number, count: number): Promise<Uint8Array> {
  const isOneOfMany = count > 1;
  const note = isOneOfMany ? `\n\n-- Email ${number} of ${count} --` : "";
  const composer = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: "windows" });
  const mail = await composer.sendMail({
    from: text.from,
    to: [...text.to],
    subject: text.subject + (isOneOfMany ? ` [${number}/${count}]` : ""),
    text: text.body + note,
    ...(text.html === "" ? {} : { html: text.html + (isOneOfMany ? `\n<p>${note.trim()}</p>` : "") }),
    messageId: `<${crypto.randomUUID()}@${domainOf(text.from)}>`,
    date: new Date(),
    attachments: text.files.map(({ name, bytes }) => {
      const contentType = sniffedType(bytes);
      const isKnown = contentType === undefined || /\.[a-z0-9]+$/i.test(name);
      return { filename: name, content: Buffer.from(bytes), ...(isKnown ? {} : { contentType }) };
    }),
    // What is attached was read before; a mail must not make the composer read anything else.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  if (!(mail.message instanceof Uint8Array)) throw new Error("The composer answered no bytes");
  return mail.message;
}

/** The address itself, without a display name. */
export function bareAddress(address: string): string {
  return /<([^<>]*)>\s*$/.exec(address)?.[1] ?? address.trim();
}

function domainOf(address: string): string {
  const bare = bareAddress(address);
  const domain = bare.slice(bare.lastIndexOf("@") + 1);
  return /^[a-z0-9.-]+$/i.test(domain) ? domain : "localhost";
}

const signatures: readonly { readonly type: string; readonly start: string }[] = [
  { type: "application/pdf", start: "%PDF-" },
  { type: "image/png", start: "\x89PNG\r\n\x1a\n" },
  { type: "image/jpeg", start: "\xff\xd8\xff" },
  { type: "image/gif", start: "GIF8" },
  { type: "application/zip", start: "PK\x03\x04" },
  { type: "application/gzip", start: "\x1f\x8b" },
];

/** A type by the first bytes, for files whose name does not tell; undefined for unknown binary data. */
function sniffedType(bytes: Uint8Array): string | undefined {
  const start = Buffer.from(bytes.subarray(0, 512)).toString("latin1");
  const signature = signatures.find((candidate) => start.startsWith(candidate.start));
  if (signature !== undefined) return signature.type;
  return /[^\P{Cc}\t\n\r\f]/u.test(start.replace(/[\x80-\x9f]/g, "")) ? undefined : "text/plain";
}
