import { Buffer } from "node:buffer";
import { type Mailbox, parseMailbox } from "../../lib/mime/address.ts";
import type { EnvelopeRecipient } from "../../lib/messages/message.ts";
import { Refusal } from "../../lib/refusal.ts";
import type { ProtocolReply } from "./replies.ts";

/** MAIL FROM with the parameters we know (RFC 5321, 1870, 3461, 6152, 6531, 4954). */
export interface MailCommand {
  /** Undefined for the null sender `<>`. */
  readonly sender: Mailbox | undefined;
  readonly size?: number;
  readonly eightBit: boolean;
  readonly smtpUtf8: boolean;
  readonly dsnReturn?: "FULL" | "HDRS";
  readonly envelopeId?: string;
}

/** A command that the protocol itself refuses: a row of `protocolReplies` and a sentence. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  constructor(readonly reply: ProtocolReply, message: string) {
    super(message);
  }
}

/** Reads the argument of MAIL; throws CommandError or Refusal. */
export function parseMail(line: Uint8Array): MailCommand {
  const { path, parameters } = parsePath(line, mailStart, "MAIL FROM:<address>");
  const known = takeParameters(parameters, ["SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"]);
  const smtpUtf8 = known.has("SMTPUTF8");
  if (smtpUtf8 && known.get("SMTPUTF8") !== undefined) throw invalid("SMTPUTF8 takes no value");
  const size = known.has("SIZE") ? parseSize(known.get("SIZE")) : undefined;
  const body = oneOf(known, "BODY", ["7BIT", "8BITMIME"]);
  const dsnReturn = oneOf(known, "RET", ["FULL", "HDRS"]);
  const envelopeId = known.has("ENVID") ? xtext("ENVID", known.get("ENVID"), 100) : undefined;
  if (known.has("AUTH")) xtext("AUTH", known.get("AUTH"), 500);
  return {
    sender: path === "" ? undefined : senderOf(path, smtpUtf8),
    eightBit: body === "8BITMIME" || smtpUtf8,
    smtpUtf8,
    ...(size === undefined ? {} : { size }),
    ...(dsnReturn === undefined ? {} : { dsnReturn }),
    ...(envelopeId === undefined ? {} : { envelopeId }),
  };
}

/** Reads the argument of RCPT; throws CommandError or Refusal. */
export function parseRcpt(line: Uint8Array, smtpUtf8: boolean): EnvelopeRecipient {
  const { path, parameters } = parsePath(line, rcptStart, "RCPT TO:<address>");
  const known = takeParameters(parameters, ["NOTIFY", "ORCPT"]);
  const notify = known.has("NOTIFY") ? parseNotify(known.get("NOTIFY")) : undefined;
  const originalRecipient = known.has("ORCPT") ? parseOriginal(known.get("ORCPT"), smtpUtf8) : undefined;
  const mailbox = parseMailbox(withoutRoute(path));
  if (mailbox === undefined) {
    throw new Refusal("recipient_address_invalid", `Cannot send to <${path}>: not a mail address`);
  }
  requireUtf8(mailbox, smtpUtf8);
  return {
    address: mailbox.address,
    ...(notify === undefined ? {} : { notify }),
    ...(originalRecipient === undefined ? {} : { originalRecipient }),
  };
}

function senderOf(path: string, smtpUtf8: boolean): Mailbox {
  const mailbox = parseMailbox(withoutRoute(path));
  if (mailbox === undefined) {
    throw new Refusal("sender_address_invalid", `Cannot send from <${path}>: not a mail address`);
  }
  requireUtf8(mailbox, smtpUtf8);
  return mailbox;
}

function requireUtf8(mailbox: Mailbox, smtpUtf8: boolean): void {
  if (!mailbox.isInternational || smtpUtf8) return;
  throw new Refusal("smtputf8_required", "Address is not ASCII: give MAIL FROM the SMTPUTF8 parameter");
}

function invalid(sentence: string): CommandError {
  return new CommandError("arguments_invalid", sentence);
}

interface PathCommand {
  readonly path: string;
  readonly parameters: readonly string[];
}

const mailStart = /^MAIL +FROM *: *</i;
const rcptStart = /^RCPT +TO *: *</i;

/** `MAIL FROM:<path> parameters`; blanks around the colon are tolerated, the angle brackets are not optional. */
function parsePath(line: Uint8Array, opening: RegExp, form: string): PathCommand {
  const syntax = `Syntax: ${form}`;
  const text = decodeUtf8(line);
  if (text === undefined) throw invalid("Command is not UTF-8");
  const start = opening.exec(text);
  if (start === null) throw invalid(syntax);
  const end = endOfPath(text, start[0].length);
  if (end < 0) throw invalid(syntax);
  const rest = text.slice(end + 1);
  if (rest !== "" && !rest.startsWith(" ")) throw invalid(syntax);
  return {
    path: text.slice(start[0].length, end),
    parameters: rest.split(" ").filter((part) => part !== ""),
  };
}

/** The closing angle bracket, those inside a quoted local part not counted. */
function endOfPath(text: string, from: number): number {
  let isQuoted = false;
  for (let at = from; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === "\\" && isQuoted) at++;
    else if (character === '"') isQuoted = !isQuoted;
    else if (character === ">" && !isQuoted) return at;
    else if (character === "<" && !isQuoted) return -1;
  }
  return -1;
}

/** A source route is ignored, as RFC 5321 section 4.1.1.3 has it. */
function withoutRoute(path: string): string {
  const route = /^@[^":]+:/.exec(path);
  return route === null ? path : path.slice(route[0].length);
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  // Nearly every command is ASCII, for which this is several times faster.
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  // deno-lint-ignore no-control-regex -- ASCII is a range that begins with controls
  if (/^[\x00-\x7f]*$/.test(text)) return text;
  try {
    return strictUtf8.decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function takeParameters(parts: readonly string[], names: readonly string[]): Map<string, string | undefined> {
  const taken = new Map<string, string | undefined>();
  for (const part of parts) {
    const equals = part.indexOf("=");
    const name = (equals < 0 ? part : part.slice(0, equals)).toUpperCase();
    if (!names.includes(name)) {
      throw new CommandError("parameter_unknown", `Parameter ${name.slice(0, 40)} is not known here`);
    }
    if (taken.has(name)) throw invalid(`Parameter ${name} is given twice`);
    taken.set(name, equals < 0 ? undefined : part.slice(equals + 1));
  }
  return taken;
}

function parseSize(text: string | undefined): number {
  if (text === undefined || !/^\d{1,20}$/.test(text)) throw invalid("SIZE is a number of bytes");
  return Number(text);
}

function oneOf<Value extends string>(
  known: ReadonlyMap<string, string | undefined>,
  name: string,
  values: readonly Value[],
): Value | undefined {
  if (!known.has(name)) return undefined;
  const given = known.get(name)?.toUpperCase();
  const value = values.find((candidate) => candidate === given);
  if (value === undefined) throw invalid(`${name} is one of ${values.join(", ")}`);
  return value;
}

function xtext(name: string, text: string | undefined, longest: number): string {
  if (text === undefined || text.length > longest || !/^([!-*,-<>-~]|\+[0-9A-F]{2})+$/.test(text)) {
    throw invalid(`${name} is xtext of at most ${longest} characters (RFC 3461)`);
  }
  return text;
}

/** RFC 3461 section 4.1. */
function parseNotify(text: string | undefined): string {
  const values = (text ?? "").toUpperCase().split(",");
  const areKnown = values.every((value) => ["NEVER", "SUCCESS", "FAILURE", "DELAY"].includes(value));
  if (!areKnown || new Set(values).size !== values.length) {
    throw invalid("NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY");
  }
  if (values.includes("NEVER") && values.length > 1) throw invalid("NOTIFY=NEVER stands alone");
  return values.join(",");
}

/** RFC 3461 section 4.2; with SMTPUTF8 also the `utf-8` address type of RFC 6533. */
function parseOriginal(text: string | undefined, smtpUtf8: boolean): string {
  const parts = /^([A-Za-z0-9-]{1,64});(.+)$/u.exec(text ?? "");
  const isUtf8 = parts?.[1]?.toLowerCase() === "utf-8";
  if (parts?.[2] === undefined || (text ?? "").length > 500) {
    throw invalid("ORCPT is type;address (RFC 3461)");
  }
  if (isUtf8 && smtpUtf8) return text ?? "";
  return `${parts[1]};${xtext("ORCPT", parts[2], 500)}`;
}
