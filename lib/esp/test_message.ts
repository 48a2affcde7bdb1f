import { type CallId, type GroupId, type MessageId, newId, type RecipientId, type UserId } from "../ids.ts";
import type { Recipient } from "../messages/message.ts";
import { parseMailbox } from "../mime/address.ts";
import { memoryBody } from "../store/memory_body.ts";
import type { Parcel } from "./esp.ts";

/** Who a test message is from and for. */
export interface TestMail {
  readonly from: string;
  readonly to: string;
  readonly now: Date;
}

/** A small message by which a person sees that a provider delivers; it belongs to no group and is stored nowhere. */
export function testParcel({ from, to, now }: TestMail): Parcel {
  const sender = mailboxOf("from", from);
  const id = newId<MessageId>();
  const recipients: readonly Recipient[] = [
    { id: 1 as RecipientId, address: mailboxOf("to", to).address, attempts: 0 },
  ];
  const text = [
    `From: <${sender.address}>`,
    `To: <${recipients[0]?.address}>`,
    "Subject: Test message",
    `Date: ${now.toUTCString().replace("GMT", "+0000")}`,
    `Message-ID: <${id}@${sender.domain}>`,
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=us-ascii",
    "",
    "This message was sent to test a provider of smtp-proxy. It works.",
    "",
  ].join("\r\n");
  const body = memoryBody(new TextEncoder().encode(text));
  return {
    call: newId<CallId>(),
    recipients,
    body,
    message: {
      id,
      group: newId<GroupId>(),
      user: newId<UserId>(),
      mailFrom: sender.address,
      recipients,
      storageRef: "inline",
      size: body.size,
      smtpUtf8: false,
      eightBit: false,
      correlationId: id,
      acceptedAtMs: now.getTime(),
    },
  };
}

function mailboxOf(what: string, text: string) {
  const mailbox = parseMailbox(text);
  if (mailbox !== undefined && !mailbox.isInternational) return mailbox;
  throw new TypeError(
    `Cannot make a test message: ${what} is not an address in ASCII: current value is "${text}"`,
  );
}
