import { normalDomain } from "../../lib/mime/address.ts";
import { normalAddress } from "../../lib/network/cidr.ts";

/** What a Received field tells of one submission. */
export interface Passage {
  readonly id: string;
  /** Our own host name. */
  readonly by: string;
  /** The name given with EHLO, unchecked. */
  readonly helo: string;
  readonly address: string;
  readonly saidEhlo: boolean;
  readonly smtpUtf8: boolean;
  readonly tls?: string;
  /** Named only when it is the only one, so that nobody learns of a blind copy. */
  readonly recipients: readonly string[];
  readonly at: Date;
}

/** A Received field (RFC 5321 section 4.4), CR LF included; `brief` leaves out who the client is. */
export function receivedField(passage: Passage, detail: "full" | "brief"): string {
  const parts: string[] = [];
  if (detail === "full") {
    const address = passage.address.includes(":") ? normalAddress(passage.address) : passage.address;
    const literal = address.includes(":") ? `IPv6:${address}` : address;
    parts.push(`from ${heloName(passage.helo)} ([${literal}])`);
  }
  if (detail === "full" && passage.tls !== undefined) parts.push(`(using ${printable(passage.tls)})`);
  parts.push(`by ${passage.by} with ${protocol(passage)} id ${passage.id}`);
  const only = passage.recipients.length === 1 ? passage.recipients[0] : undefined;
  if (detail === "full" && only !== undefined) parts.push(`for <${only}>`);
  return `Received: ${parts.join("\r\n\t")};\r\n\t${mailDate(passage.at)}\r\n`;
}

/** A date as header fields have it (RFC 5322 section 3.3), in UTC. */
export function mailDate(at: Date): string {
  return at.toUTCString().replace("GMT", "+0000");
}

/** The fields a submission must have and the client left out (RFC 6409 section 8). */
export function missingFields(
  has: { readonly date: boolean; readonly messageId: boolean },
  passage: Pick<Passage, "id" | "by" | "at">,
): string {
  return (has.date ? "" : `Date: ${mailDate(passage.at)}\r\n`) +
    (has.messageId ? "" : `Message-ID: <${passage.id}@${passage.by}>\r\n`);
}

/** RFC 3848 and RFC 6531 section 4.3; everybody who submits has authenticated. */
function protocol(passage: Passage): string {
  if (!passage.saidEhlo) return "SMTP";
  return `${passage.smtpUtf8 ? "UTF8SMTP" : "ESMTP"}${passage.tls === undefined ? "" : "S"}A`;
}

function heloName(helo: string): string {
  if (/^\[[0-9A-Za-z:.]{2,50}\]$/.test(helo)) return helo;
  return normalDomain(helo) ?? (/^[0-9A-Za-z:._-]{1,64}$/.test(helo) ? `[${helo}]` : "unknown");
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]|[()\\]/g, "").slice(0, 100);
}
