import type { MessageId } from "../ids.ts";
import type { BodyLabel, StoredLabel } from "./message_store.ts";

// S3 takes 2 KB of metadata with an object, names included, of which the checksum takes 70 bytes. A sender of 320
// characters fits in any case.
const mostLabel = 1960;
const labelField = "x-amz-meta-label";
const hashField = "x-amz-meta-sha256";

/** What is kept beside a body: its checksum and its label, with as many recipients as there is room for. */
export function metadataOf(label: BodyLabel, sha256: Uint8Array): Record<string, string> {
  return { [hashField]: sha256.toHex(), [labelField]: encodeLabel(label) };
}

/** The checksum kept beside a body; undefined when there is none that could be one. */
export function hashIn(headers: Headers): Uint8Array | undefined {
  const hex = headers.get(hashField) ?? "";
  return /^[0-9a-f]{64}$/.test(hex) ? Uint8Array.fromHex(hex) : undefined;
}

function encodeLabel({ group, user, mailFrom, recipients }: BodyLabel): string {
  // Halved until it fits: a list is then at least half as long as it could be.
  for (let kept = recipients.length;; kept >>= 1) {
    const leftOut = recipients.length - kept;
    const label = {
      group,
      user,
      mailFrom,
      recipients: recipients.slice(0, kept),
      ...leftOut > 0 && { leftOut },
    };
    const text = new TextEncoder().encode(JSON.stringify(label)).toBase64();
    if (text.length <= mostLabel) return text;
    if (kept === 0) throw new Error(`Cannot store a body: its envelope takes ${text.length} bytes`);
  }
}

/** The label kept beside a body; undefined when there is none that could be one. */
export function labelIn(headers: Headers, id: MessageId): StoredLabel | undefined {
  try {
    const text = new TextDecoder().decode(Uint8Array.fromBase64(headers.get(labelField) ?? ""));
    const { group, user, mailFrom, recipients, leftOut } = JSON.parse(text);
    if (![group, user, mailFrom].every((part) => typeof part === "string")) return undefined;
    if (!Array.isArray(recipients) || !recipients.every((part) => typeof part === "string")) return undefined;
    return { id, group, user, mailFrom, recipients, ...typeof leftOut === "number" && { leftOut } };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}
