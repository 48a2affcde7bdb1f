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
    mail(
      "two From and three Subject fields",
      `From: a@example.com\r\nSubject: one\r\nSubject: two\r\n${head}\r\nHi\r\n`,
    ),
    mail("NULs in its header", `${head}X-Nul: a\0b\r\n\r\nHi\0there\r\n`),
    mail(
      "bytes that are no UTF-8",
      `${head}X-Odd: \xc3(\xff\xed\xa0\x80\r\n\r\n\xff\xfe\xc0\x80\r\n`,
      "latin1",
    ),
    mail("a field name that is not ASCII", `${head}X-Gr\u00f6\u00dfe: v\r\n: no name\r\n\r\nHi\r\n`),
    mail(
      "encoded words that are broken",
      `${head}X-Word: =?utf-8?B?w6?= =?no-such?Q?=ZZ?= =?utf-8?X?a?=\r\n\r\nHi\r\n`,
    ),
    mail("Japanese in seven bits", inCharset("iso-2022-jp", "\x1b$B$3$s$K$A$O\x1b(B")),
    mail("Chinese in two bytes", inCharset("gb2312", "\xc4\xe3\xba\xc3")),
    mail("a charset that nobody knows", inCharset("x-no-such-charset", "\xe4\xf6\xfc")),
    mail("UTF-16 as text", inCharset("utf-16le", "H\0i\0")),
    mail("a Content-Type of nonsense", `${head}MIME-Version: 1.0\r\nContent-Type: ;;=;"\r\n\r\nHi\r\n`),
    mail("two Content-Types", `${head}Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\n<b>Hi\r\n`),
    mail(
      "an encoding that nobody knows",
      `${head}Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\r\n`,
    ),
    mail(
      "broken quoted-printable",
      `${head}Content-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ=4=\r\n=E4=\r\n`,
    ),
    mail("inline images that share an id", related()),
    mail("attachments without a name and without content", unnamed()),
    mail("a file name that leads elsewhere", fileNamed('../../../etc/passwd\\\\nul:\\"quoted\\"')),
    mail("a file name of a thousand characters", fileNamed("n".repeat(1000))),
    mail("a boundary that begins like another", boundariesAlike()),
    mail("a digest of forwarded messages", digest()),
    mail("something encrypted", encrypted()),
    mail("a long thread and lists", threaded()),
    mail(
      "a part that ends with the message",
      `${head}${multipart("mixed", [text]).replace(/--edge--[^]*/, "--edge")}`,
    ),
  ];
}

function inCharset(charset: string, raw: string): string {
  return `${head}MIME-Version: 1.0\r\nContent-Type: text/plain; charset=${charset}\r\n` +
    `Content-Transfer-Encoding: base64\r\n\r\n${Buffer.from(raw, "latin1").toString("base64")}\r\n`;
}

function related(): string {
  const image = "Content-Type: image/png\r\nContent-ID: <same@x>\r\nContent-Disposition: inline\r\n\r\n";
  return head +
    multipart("related", ['Content-Type: text/html\r\n\r\n<img src="cid:same@x">', `${image}1`, `${image}2`]);
}

function unnamed(): string {
  return head + multipart("mixed", [
    text,
    "Content-Disposition: attachment\r\n\r\nwithout a name",
    "Content-Type: application/pdf; name=empty.pdf\r\nContent-Disposition: attachment\r\n\r\n",
    "\r\n",
  ]);
}

function fileNamed(name: string): string {
  const disposition = `Content-Disposition: attachment; filename="${name}"`;
  return head + multipart("mixed", [text, `Content-Type: application/x-odd\r\n${disposition}\r\n\r\nfile`]);
}

function boundariesAlike(): string {
  return head + multipart("mixed", [multipart("alternative", [text, text], "edge-inner"), text]);
}

function digest(): string {
  return head + multipart("digest", ["\r\nSubject: one\r\n\r\n1", "\r\nSubject: two\r\n\r\n2", "\r\n"]);
}

function encrypted(): string {
  return `${head}MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n` +
    "Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=smime.p7m\r\n\r\nMIAGCSqGSIb3\r\n";
}

function threaded(): string {
  const ids = Array.from({ length: 200 }, (_, index) => `<${index}@thread.example.com>`);
  return `${head}In-Reply-To: ${ids[0]}\r\nReferences: ${ids.join("\r\n ")}\r\n` +
    "List-Id: <l.example.com>\r\nList-Unsubscribe: <https://example.com/u>, <mailto:u@example.com>\r\n" +
    "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nReply-To: r@example.com, List: s@example.com;\r\n" +
    "Auto-Submitted: auto-generated\r\nResent-To: stranger@example.org\r\nErrors-To: e@example.com\r\n\r\nHi\r\n";
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
