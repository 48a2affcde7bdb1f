import type { KeptHeaders } from "../../lib/messages/message.ts";
import { endOfHeader, readHeader } from "../../lib/mime/headers.ts";
import type { Body } from "../../lib/store/body.ts";
import type { BodyLabel } from "../../lib/store/message_store.ts";

/** What a message's row says of its body. */
export interface BodyFacts {
  readonly headers: KeptHeaders;
  readonly eightBit: boolean;
}

/** A header that is longer is read as far as this. */
const longestHeader = 1 << 20;

/** Reads a body to its end, which proves that it is what was stored; throws `DamagedBody` when it is not. */
export async function factsOf(body: Body): Promise<BodyFacts> {
  let head = new Uint8Array();
  let eightBit = false;
  for await (const chunk of body.stream()) {
    eightBit ||= chunk.some((byte) => byte > 127);
    if (head.length >= longestHeader || endOfHeader(head) >= 0) continue;
    const both = new Uint8Array(head.length + chunk.length);
    both.set(head);
    both.set(chunk, head.length);
    head = both;
  }
  const end = endOfHeader(head);
  const { subject, messageId, from } = readHeader(head.subarray(0, end < 0 ? longestHeader : end));
  const [address] = from ?? [];
  return {
    eightBit,
    headers: {
      ...subject !== undefined && { subject },
      ...messageId !== undefined && { messageId },
      ...address !== undefined && { from: address.address },
    },
  };
}

/** Whether an envelope can only be handed on to whoever knows SMTPUTF8 (RFC 6531). */
export function needsUtf8({ mailFrom, recipients }: Pick<BodyLabel, "mailFrom" | "recipients">): boolean {
  return [mailFrom, ...recipients].some((address) => /[^\0-\x7f]/.test(address));
}
