import { Buffer } from "node:buffer";
import type { Esp, EspIo, EspKind, Parcel } from "../../lib/esp/esp.ts";
import type { RecipientOutcome } from "../../lib/esp/outcome.ts";
import { newId } from "../../lib/ids.ts";
import type { CallId, GroupId, MessageId, RecipientId, UserId } from "../../lib/ids.ts";
import type { Message } from "../../lib/messages/message.ts";
import type { Body } from "../../lib/store/body.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";

/** A small mail that needs nothing special. */
export const plainMail =
  "From: a@example.com\r\nTo: b@example.org\r\nSubject: Hello\r\n\r\nHello\r\n.\r\n..dots\r\n";

/** A parcel for these addresses, of a mail as text or a body of one's own making. */
export function parcelOf(
  addresses: readonly string[],
  mail: string | Body = plainMail,
  message: Partial<Message> = {},
): Parcel {
  const body = typeof mail === "string" ? memoryBody(Buffer.from(mail)) : mail;
  const recipients = addresses.map((address, index) => ({
    id: index + 1 as RecipientId,
    address,
    attempts: 1,
  }));
  return {
    call: newId<CallId>(),
    recipients,
    body,
    message: {
      id: newId<MessageId>(),
      group: newId<GroupId>(),
      user: newId<UserId>(),
      mailFrom: "a@example.com",
      recipients,
      storageRef: "inline",
      size: body.size,
      smtpUtf8: false,
      eightBit: false,
      correlationId: "test",
      acceptedAtMs: 0,
      ...message,
    },
  };
}

/** A body that can only be read as a stream, of pieces of 64 KiB. */
export function streamedBody(bytes: Uint8Array): Body {
  return {
    ...memoryBody(bytes),
    bytes: () => Promise.reject(new Error("A large body is not read at once")),
    stream: () => {
      let at = 0;
      return new ReadableStream<Uint8Array>({
        pull(controller) {
          if (at >= bytes.length) return controller.close();
          controller.enqueue(bytes.slice(at, at += 65_536));
        },
      });
    },
  };
}

/** The world as an ESP sees it, with nothing but loopback in it. */
export function espIo(changes: Partial<EspIo> = {}): EspIo {
  return {
    fetch,
    now: () => new Date(),
    guard: (host) =>
      Promise.resolve(
        /^[\d.:]+$/.test(host) ? { address: host } : { address: "127.0.0.1", servername: host },
      ),
    guardEndpoint: () => Promise.resolve(),
    callTimeoutMs: 60_000,
    answerTimeoutMs: 0,
    print: () => {},
    showText: false,
    ...changes,
  };
}

/** Opens an ESP with settings as the API would take them. */
export function openEsp<Settings>(
  kind: EspKind<Settings>,
  settings: unknown,
  changes: Partial<EspIo> = {},
): Esp {
  return kind.open(kind.settings.parse(settings), espIo(changes));
}

/** An outcome in a few words, e.g. `wait credentials provider smtp_535`. */
export function inWords(outcome: RecipientOutcome | undefined): string {
  if (outcome === undefined) return "none";
  if (outcome.kind === "accepted") return "accepted";
  const { blame, code } = outcome.fault;
  return outcome.kind === "wait"
    ? `wait ${outcome.cause} ${blame} ${code}`
    : `${outcome.kind} ${blame} ${code}`;
}

/** The outcomes of one call in the order of the parcel. */
export async function deliverInWords(
  esp: Esp,
  parcel: Parcel,
  signal = new AbortController().signal,
): Promise<readonly string[]> {
  const report = await esp.deliver(parcel, signal);
  return parcel.recipients.map(({ id }) => inWords(report.recipients.get(id)));
}
