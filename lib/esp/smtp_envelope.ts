import { domainToASCII } from "node:url";
import type { RecipientId } from "../ids.ts";
import type { Message, Recipient } from "../messages/message.ts";
import { SmtpFailure } from "../smtp/failure.ts";
import type { OutgoingMessage } from "../smtp/message_bytes.ts";
import { isWritable } from "../smtp/transaction.ts";
import type { Envelope } from "../smtp/transaction.ts";
import type { RecipientOutcome } from "./outcome.ts";
import { fault } from "./smtp_outcome.ts";

/** What a server said it can do. */
export interface ServerAbilities {
  readonly extensions: ReadonlyMap<string, string>;
  readonly sizeLimit: number | undefined;
}

/** The envelope for one server and those whom its abilities do not reach. */
export interface EnvelopePlan {
  readonly envelope: Envelope;
  /** In the order of the envelope's. */
  readonly recipients: readonly Recipient[];
  readonly refused: ReadonlyMap<RecipientId, RecipientOutcome>;
}

/** Fits a message to what the server can take; what it cannot take is refused with the reason, nothing is altered. */
export async function planEnvelope(
  message: Message,
  recipients: readonly Recipient[],
  outgoing: OutgoingMessage,
  server: ServerAbilities,
): Promise<EnvelopePlan> {
  const hasUtf8 = server.extensions.has("SMTPUTF8");
  const refused = new Map<RecipientId, RecipientOutcome>();
  const served: Recipient[] = [];
  const mailFrom = writableAddress(message.mailFrom, hasUtf8);
  const obstacle = mailFrom.fault ?? await messageObstacle(message, outgoing, server);
  for (const recipient of recipients) {
    const to = writableAddress(recipient.address, hasUtf8);
    const reason = obstacle ?? to.fault;
    if (reason === undefined) served.push({ ...recipient, address: to.address });
    else refused.set(recipient.id, { kind: "refused", fault: reason });
  }
  const needsUtf8 = [mailFrom, ...served].some((from) => !isAscii(from.address)) ||
    (message.smtpUtf8 && outgoing.hasRawHeader());
  const envelope = {
    mailFrom: mailFrom.address,
    recipients: served,
    eightBit: message.eightBit || served.length > 0 && await mayBeEightBit(outgoing, server),
    smtpUtf8: needsUtf8,
    ...(message.dsnReturn === undefined ? {} : { dsnReturn: message.dsnReturn }),
    ...(message.envelopeId === undefined ? {} : { envelopeId: message.envelopeId }),
  };
  return { envelope, recipients: served, refused };
}

async function messageObstacle(message: Message, outgoing: OutgoingMessage, server: ServerAbilities) {
  const { extensions, sizeLimit } = server;
  if (sizeLimit !== undefined && outgoing.size > sizeLimit) {
    return obstacle(
      "message_too_large",
      `The server takes ${sizeLimit} bytes: the message has ${outgoing.size}`,
    );
  }
  if (message.smtpUtf8 && !extensions.has("SMTPUTF8") && outgoing.hasRawHeader()) {
    return obstacle("smtputf8_unsupported", "The server lacks SMTPUTF8: the message's header needs it");
  }
  if (message.eightBit && !extensions.has("8BITMIME") && await readsEightBit(outgoing)) {
    return obstacle("eightbit_unsupported", "The server lacks 8BITMIME: the message needs it");
  }
  return undefined;
}

/** Old programs send such bytes without saying so; a large message is declared unread, which is true of any. */
async function mayBeEightBit(outgoing: OutgoingMessage, { extensions }: ServerAbilities): Promise<boolean> {
  return extensions.has("8BITMIME") && (outgoing.wire === undefined || await readsEightBit(outgoing));
}

async function readsEightBit(outgoing: OutgoingMessage): Promise<boolean> {
  try {
    return await outgoing.hasEightBit();
  } catch (error) {
    throw new SmtpFailure("body_unreadable", `Cannot read body: ${String(error)}`, undefined, {
      cause: error,
    });
  }
}

/** The address as it can be written to this server: a domain goes as A-labels where UTF-8 is not understood. */
function writableAddress(address: string, hasUtf8: boolean) {
  if (address !== "" && !isWritable(address)) {
    return {
      address,
      fault: obstacle("address_invalid", `The address cannot be written: ${JSON.stringify(address)}`),
    };
  }
  if (hasUtf8 || isAscii(address)) return { address };
  const at = address.lastIndexOf("@");
  const domain = domainToASCII(address.slice(at + 1));
  const ascii = `${address.slice(0, at)}@${domain}`;
  if (at > 0 && domain !== "" && isAscii(ascii)) return { address: ascii };
  return {
    address,
    fault: obstacle("smtputf8_unsupported", `The server lacks SMTPUTF8: ${address} needs it`),
  };
}

function obstacle(code: string, detail: string) {
  return fault("message", code, detail);
}

function isAscii(text: string): boolean {
  return !/[^\p{ASCII}]/u.test(text);
}
