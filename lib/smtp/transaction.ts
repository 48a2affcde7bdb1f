import type { CallBounds, Channel } from "./channel.ts";
import { SmtpFailure } from "./failure.ts";
import type { OutgoingMessage } from "./message_bytes.ts";
import { replyClass } from "./reply.ts";
import type { Reply } from "./reply.ts";
import { stepLimits } from "./session.ts";
import type { Session } from "./session.ts";

/** One address to deliver to, with its DSN parameters as the client gave them (RFC 3461). */
export interface EnvelopeTo {
  readonly address: string;
  readonly notify?: string;
  readonly originalRecipient?: string;
}

/** Who sends what kind of message to whom. */
export interface Envelope {
  /** Empty for the null sender. */
  readonly mailFrom: string;
  readonly recipients: readonly EnvelopeTo[];
  /** Ask for 8BITMIME and SMTPUTF8; only where the server offers them. */
  readonly eightBit: boolean;
  readonly smtpUtf8: boolean;
  readonly dsnReturn?: "FULL" | "HDRS";
  readonly envelopeId?: string;
}

/** All that a server said to one message. A value: what breaks is `failure`. */
export interface TransactionResult {
  readonly mail?: Reply;
  /** One per recipient in order; undefined where none came. */
  readonly recipients: readonly (Reply | undefined)[];
  /** The answer to DATA when it was no 354. */
  readonly data?: Reply;
  /** The answer to the message as a whole. */
  readonly answer?: Reply;
  readonly failure?: SmtpFailure;
  /** Whether the last dot was handed to the socket: then a failure leaves open whether the message was taken. */
  readonly isDotWritten: boolean;
}

interface Progress {
  mail?: Reply;
  readonly recipients: (Reply | undefined)[];
  data?: Reply;
  answer?: Reply;
  failure?: SmtpFailure;
  isDotWritten: boolean;
}

/** Sends one message on an open session, the envelope in one packet where PIPELINING is offered (RFC 2920). */
export async function sendMessage(
  session: Session,
  envelope: Envelope,
  message: OutgoingMessage,
  bounds: CallBounds,
): Promise<TransactionResult> {
  const progress: Progress = { recipients: envelope.recipients.map(() => undefined), isDotWritten: false };
  const unbind = session.channel.bind(bounds.signal);
  try {
    if (await sendEnvelope(session, envelope, message.size, progress, bounds)) {
      await sendBody(session.channel, message, progress, bounds);
    }
  } catch (error) {
    if (!(error instanceof SmtpFailure)) {
      session.channel.destroy();
      throw error;
    }
    progress.failure = error;
  } finally {
    unbind();
  }
  return progress;
}

/** Whether the server now waits for the message. */
async function sendEnvelope(
  session: Session,
  envelope: Envelope,
  size: number,
  progress: Progress,
  bounds: CallBounds,
): Promise<boolean> {
  const { channel, extensions } = session;
  const isPipelined = extensions.has("PIPELINING");
  const mail = mailCommand(envelope, size, extensions);
  const recipients = envelope.recipients.map((to) => recipientCommand(to, extensions));
  if (isPipelined) channel.write([mail, ...recipients, "DATA\r\n"].join(""));
  const ask = async (command: string): Promise<Reply> => {
    if (!isPipelined) channel.write(command);
    const reply = await channel.reply(stepLimits.command, bounds);
    if (reply.code === 421) throw serverCloses(channel, reply);
    return reply;
  };
  progress.mail = await ask(mail);
  const isSenderTaken = replyClass(progress.mail) === 2;
  if (!isSenderTaken && !isPipelined) return false;
  for (const [index, command] of recipients.entries()) progress.recipients[index] = await ask(command);
  const isAnyTaken = isSenderTaken && progress.recipients.some((reply) => reply && replyClass(reply) === 2);
  if (!isAnyTaken && !isPipelined) return false;
  const data = await ask("DATA\r\n");
  if (data.code === 354 && isAnyTaken) return true;
  // It waits for a message although nobody may get it: there is no way back but to hang up.
  if (replyClass(data) < 4) channel.destroy();
  if (isAnyTaken) progress.data = data;
  return false;
}

async function sendBody(
  channel: Channel,
  message: OutgoingMessage,
  progress: Progress,
  bounds: CallBounds,
): Promise<void> {
  if (message.wire === undefined) {
    if (!await writePieces(channel, message, progress, bounds)) return;
  } else {
    requireTime(channel, bounds);
    progress.isDotWritten = !channel.isDead;
    channel.write(message.wire);
  }
  const answer = await channel.reply(stepLimits.answer, {
    ...bounds,
    deadline: Math.max(bounds.deadline, bounds.answerDeadline ?? 0),
  });
  progress.answer = answer;
  if (answer.code === 421) channel.destroy();
}

/**
 * A process that stood still finds the server's replies before it finds that its time is over, and somebody else may be
 * sending the message by now: so the clock is asked before what cannot be taken back.
 */
function requireTime(channel: Channel, bounds: CallBounds): void {
  if (performance.now() < bounds.deadline) return;
  channel.destroy();
  throw new SmtpFailure("timeout", "The call's time was over before the message was handed over");
}

/** Writes as fast as the server reads; false when it refused before the end. */
async function writePieces(
  channel: Channel,
  message: OutgoingMessage,
  progress: Progress,
  bounds: CallBounds,
): Promise<boolean> {
  try {
    for await (const piece of message.pieces()) {
      if (channel.hasReply) {
        progress.answer = await earlyAnswer(channel, bounds);
        return false;
      }
      requireTime(channel, bounds);
      progress.isDotWritten = piece.isLast && !channel.isDead;
      // After the last dot only the answer is waited for.
      if (!channel.write(piece.bytes) && !piece.isLast) await channel.drained(bounds);
      if (channel.isDead) break;
    }
  } catch (error) {
    channel.destroy();
    if (error instanceof SmtpFailure) throw error;
    throw new SmtpFailure("body_unreadable", `Cannot read body: ${String(error)}`, undefined, {
      cause: error,
    });
  }
  return true;
}

async function earlyAnswer(channel: Channel, bounds: CallBounds): Promise<Reply> {
  const reply = await channel.reply(1, bounds);
  channel.destroy();
  if (replyClass(reply) < 4) {
    throw new SmtpFailure("protocol_error", "The server answered before the end of the message", reply);
  }
  return reply;
}

function serverCloses(channel: Channel, reply: Reply): SmtpFailure {
  const failure = new SmtpFailure("service_closing", "The server is closing the connection", reply);
  channel.destroy(failure);
  return failure;
}

/** Whether an address can stand between the angle brackets of a command without changing what follows. */
export function isWritable(address: string): boolean {
  return /^(?:"(?:[^"\\\p{Cc}]|\\\P{Cc})*"|[^\p{Cc}\s<>"]+)(?:@[^\p{Cc}\s<>"]+)?$/u.test(address);
}

function mailCommand(envelope: Envelope, size: number, extensions: ReadonlyMap<string, string>): string {
  let command = `MAIL FROM:<${envelope.mailFrom === "" ? "" : written(envelope.mailFrom)}>`;
  if (extensions.has("SIZE")) command += ` SIZE=${size}`;
  if (envelope.eightBit && extensions.has("8BITMIME")) command += " BODY=8BITMIME";
  if (envelope.smtpUtf8 && extensions.has("SMTPUTF8")) command += " SMTPUTF8";
  if (extensions.has("DSN")) {
    if (envelope.dsnReturn !== undefined) command += ` RET=${envelope.dsnReturn}`;
    command += parameter("ENVID", envelope.envelopeId);
  }
  return `${command}\r\n`;
}

function recipientCommand(to: EnvelopeTo, extensions: ReadonlyMap<string, string>): string {
  let command = `RCPT TO:<${written(to.address)}>`;
  if (extensions.has("DSN")) {
    command += parameter("NOTIFY", to.notify) + parameter("ORCPT", to.originalRecipient);
  }
  return `${command}\r\n`;
}

function written(address: string): string {
  if (isWritable(address)) return address;
  throw new SmtpFailure("address_invalid", `Cannot write address in a command: ${JSON.stringify(address)}`);
}

/** A parameter as it was given; one that cannot stand in a command is left out. */
function parameter(name: string, value: string | undefined): string {
  return value === undefined || !/^[^\p{Cc} ]+$/u.test(value) ? "" : ` ${name}=${value}`;
}
