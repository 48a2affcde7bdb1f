import { Buffer } from "node:buffer";

/** A message that is hard to handle, and the recipients of its envelope. */
export interface AwkwardMail {
  readonly what: string;
  readonly to: readonly string[];
  readonly bytes: Buffer;
}

const envelope = ["b@example.org", "hidden@example.net"] as const;
const head = "From: Ann <a@example.com>\r\nTo: Bob <b@example.org>\r\nSubject: Awkward\r\n" +
  "Message-ID: <1@example.com>\r\nDate: Mon, 23 Nov 2026 00:00:00 +0000\r\n";

/** Messages as clients really send them, broken ones too. */
export function awkwardMails(): readonly AwkwardMail[] {
  return [
    mail("plain", `${head}\r\nHello\r\n`),
    mail("no subject and no date", "From: a@example.com\r\nTo: b@example.org\r\n\r\nHello\r\n"),
    mail("no recipient in its header", "From: a@example.com\r\nSubject: x\r\n\r\nHello\r\n"),
    mail("no From", "To: b@example.org\r\nSubject: x\r\n\r\nHello\r\n"),
    mail("an empty body", `${head}\r\n`),
    mail("a body that does not end with a line end", `${head}\r\nHello`),
    mail("a header without a body", head),
    mail("nothing but an empty line", "\r\n"),
    mail("dots and boundaries in its text", `${head}\r\n.\r\n..\r\n--x--\r\n.end\r\n`),
    mail(
      "folded fields",
      "From: Ann\r\n <a@example.com>\r\nTo:\r\n\tb@example.org\r\nSubject: a\r\n b\r\n\r\nHi\r\n",
    ),
    mail(
      "raw UTF-8 in its header",
      `From: Jörg <a@example.com>\r\nSubject: Größe\r\nTo: b@example.org\r\n\r\nGrüße\r\n`,
      "utf8",
    ),
    mail(
      "raw Latin-1 everywhere",
      "From: J\xf6rg <a@example.com>\r\nSubject: Gr\xf6\xdfe\r\n\r\nGr\xfc\xdfe\r\n",
      "latin1",
    ),
    mail("all bytes there are", `${head}\r\n${bytesText()}\r\n`, "latin1"),
    mail("a long line", `${head}\r\n${"x".repeat(50_000)}\r\n`),
    mail("a long field", `${head}X-Long: ${"y".repeat(20_000)}\r\n\r\nHi\r\n`),
    mail("many fields", `${head}${"X-Field: v\r\n".repeat(2000)}\r\nHi\r\n`),
    mail(
      "others in its header",
      'From: a@example.com\r\nTo: b@example.org, stranger@example.org\r\nCc: "C, c" <c@example.org>\r\n\r\nHi\r\n',
    ),
    mail(
      "groups",
      "From: a@example.com\r\nTo: Friends: b@example.org, c@example.org;, undisclosed:;\r\n\r\nHi\r\n",
    ),
    mail(
      "an unreadable To",
      'From: a@example.com\r\nTo: b@example.org <c@example.org>, "broken\r\n\r\nHi\r\n',
    ),
    mail(
      "a header that never ends",
      "From: a@example.com\r\nTo: b@example.org\r\nnot a field\r\nSubject: x\r\n",
    ),
    mail("an attachment with a name in another charset", attached()),
    mail("a hundred levels", nested(100)),
    mail("a thousand attachments", manyAttachments(1000)),
    mail("a forwarded message", forwarded()),
    mail("a calendar invitation", calendar()),
    mail("a signature", signed()),
    mail(
      "a boundary that never comes",
      `${head}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\ntext\r\n`,
    ),
    mail("no boundary at all", `${head}MIME-Version: 1.0\r\nContent-Type: multipart/mixed\r\n\r\ntext\r\n`),
    mail(
      "broken base64",
      `${head}MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!=\r\n=A\r\n`,
    ),
    mail("a report", report()),
  ];
}

function mail(what: string, text: string, encoding: BufferEncoding = "utf8"): AwkwardMail {
  return { what, to: envelope, bytes: Buffer.from(text, encoding) };
}

function bytesText(): string {
  return Array.from({ length: 256 }, (_, code) => code === 10 || code === 13 ? "" : String.fromCharCode(code))
    .join("");
}

function multipart(type: string, parts: readonly string[], boundary = "edge"): string {
  return `MIME-Version: 1.0\r\nContent-Type: multipart/${type}; boundary="${boundary}"\r\n\r\npreamble\r\n` +
    parts.map((part) => `--${boundary}\r\n${part}\r\n`).join("") + `--${boundary}--\r\nepilogue\r\n`;
}

const text = "Content-Type: text/plain; charset=utf-8\r\n\r\nHi";

function attached(): string {
  return head + multipart("mixed", [
    text,
    "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n" +
    "Content-Disposition: attachment; filename*0*=iso-8859-1'de'Gr%F6; filename*1*=%DFe.bin\r\n\r\nAAECAwQF",
    'Content-Type: image/png; name="=?utf-8?B?w6QucG5n?="\r\nContent-ID: <pic@x>\r\nContent-Disposition: inline\r\n\r\nPNG',
  ]);
}

function nested(levels: number): string {
  let inner = text;
  for (let level = 0; level < levels; level++) {
    inner =
      `Content-Type: multipart/mixed; boundary=l${level}\r\n\r\n--l${level}\r\n${inner}\r\n--l${level}--`;
  }
  return `${head}MIME-Version: 1.0\r\n${inner}\r\n`;
}

function manyAttachments(count: number): string {
  const parts = Array.from(
    { length: count },
    (_, index) =>
      `Content-Type: text/plain\r\nContent-Disposition: attachment; filename=f${index}.txt\r\n\r\n${index}`,
  );
  return head + multipart("mixed", [text, ...parts]);
}

function forwarded(): string {
  return head +
    multipart("mixed", [
      text,
      `Content-Type: message/rfc822\r\n\r\nBcc: inner@example.org\r\n${head}\r\nInner`,
    ]);
}

function calendar(): string {
  return head + multipart("alternative", [
    text,
    "Content-Type: text/html\r\n\r\n<p>Hi",
    "Content-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR",
  ]);
}

function signed(): string {
  return head + multipart('signed; protocol="application/pgp-signature"', [
    text,
    "Content-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----",
  ]);
}

function report(): string {
  return `From: a@example.com\r\n${
    multipart("report; report-type=delivery-status", [
      text,
      "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x",
    ])
  }`;
}
