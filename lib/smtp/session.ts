import { Buffer } from "node:buffer";
import net from "node:net";
import { Channel } from "./channel.ts";
import type { CallBounds } from "./channel.ts";
import { SmtpFailure } from "./failure.ts";
import type { SmtpFailureCode } from "./failure.ts";
import { replyClass, replyText } from "./reply.ts";
import type { Reply } from "./reply.ts";

/** When a connection is encrypted: at once, by STARTTLS or not at all, by STARTTLS where offered, never. */
export type TlsMode = "starttls" | "implicit" | "opportunistic" | "none";

/** A server to talk to and how. */
export interface SmtpTarget {
  /** An IP address; names are resolved before, so that what was checked is what is called. */
  readonly address: string;
  readonly port: number;
  /** The name its certificate must carry; without it the certificate must carry the address. */
  readonly servername?: string;
  readonly tls: TlsMode;
  /** Whether the certificate must be valid. */
  readonly verify: boolean;
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: string;
  /** What EHLO says; our own address as a literal when absent (RFC 5321 section 4.1.3). */
  readonly name?: string;
  readonly credentials?: Credentials;
}

/** What AUTH says. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** A connection that is ready for MAIL, and the extensions the server named, upper case, with their parameters. */
export interface Session {
  readonly channel: Channel;
  readonly extensions: ReadonlyMap<string, string>;
}

/**
 * Longest waits for the steps of one connection, in milliseconds; the call's own deadline cuts them short. The answer
 * to a message may take ten minutes (RFC 5321 section 4.5.3.2.6).
 */
export const stepLimits = {
  connect: 10_000,
  greeting: 20_000,
  tls: 10_000,
  command: 20_000,
  answer: 600_000,
} as const;

/** Connects, greets, encrypts and authenticates as the target asks; throws `SmtpFailure`. */
export async function openSession(target: SmtpTarget, bounds: CallBounds): Promise<Session> {
  const channel = await Channel.connect(target.address, target.port, stepLimits.connect, bounds);
  const unbind = channel.bind(bounds.signal);
  try {
    return { channel, extensions: await prepare(channel, target, bounds) };
  } catch (error) {
    channel.destroy();
    throw error;
  } finally {
    unbind();
  }
}

async function prepare(channel: Channel, target: SmtpTarget, bounds: CallBounds) {
  if (target.tls === "implicit") await secure(channel, target, bounds);
  const greeting = await channel.reply(stepLimits.greeting, bounds);
  if (greeting.code !== 220) throw refused("greeting_refused", "The server does not greet", greeting);
  let extensions = await hello(channel, target, bounds);
  const isOffered = extensions.has("STARTTLS");
  if (target.tls === "starttls" && !isOffered) {
    throw new SmtpFailure("tls_unavailable", "The server does not offer STARTTLS");
  }
  if (target.tls === "starttls" || (target.tls === "opportunistic" && isOffered)) {
    const reply = await ask(channel, "STARTTLS", bounds);
    if (reply.code !== 220) throw refused("tls_refused", "The server refuses STARTTLS", reply);
    await secure(channel, target, bounds);
    extensions = await hello(channel, target, bounds);
  } else if (target.tls === "opportunistic" && target.credentials !== undefined) {
    throw new SmtpFailure(
      "tls_unavailable",
      "The server does not offer STARTTLS, without it no password is sent",
    );
  }
  if (target.credentials !== undefined) {
    await authenticate(channel, target.credentials, extensions.get("AUTH"), bounds);
  }
  return extensions;
}

function secure(channel: Channel, target: SmtpTarget, bounds: CallBounds): Promise<void> {
  return channel.secure(target, stepLimits.tls, bounds);
}

async function hello(
  channel: Channel,
  target: SmtpTarget,
  bounds: CallBounds,
): Promise<ReadonlyMap<string, string>> {
  const name = target.name ?? addressLiteral(channel.localAddress);
  const reply = await ask(channel, `EHLO ${name}`, bounds);
  if (replyClass(reply) === 2) return parseExtensions(reply);
  if (reply.code === 500 || reply.code === 502) {
    const old = await ask(channel, `HELO ${name}`, bounds);
    if (replyClass(old) === 2) return new Map();
    throw refused("hello_refused", "The server refuses HELO", old);
  }
  throw refused("hello_refused", "The server refuses EHLO", reply);
}

function parseExtensions(reply: Reply): ReadonlyMap<string, string> {
  const extensions = new Map<string, string>();
  for (const line of reply.lines.slice(1)) {
    // Old servers write AUTH=LOGIN for AUTH LOGIN.
    const [word = "", ...rest] = line.trim().replace(/^AUTH=/i, "AUTH ").split(/\s+/);
    const name = word.toUpperCase();
    const before = extensions.get(name);
    extensions.set(name, before === undefined ? rest.join(" ") : `${before} ${rest.join(" ")}`);
  }
  return extensions;
}

async function authenticate(
  channel: Channel,
  credentials: Credentials,
  offered: string | undefined,
  bounds: CallBounds,
): Promise<void> {
  const mechanisms = new Set((offered ?? "").toUpperCase().split(" "));
  const { username, password } = credentials;
  let reply: Reply;
  if (mechanisms.has("PLAIN")) {
    reply = await ask(channel, `AUTH PLAIN ${base64(`\0${username}\0${password}`)}`, bounds);
  } else if (mechanisms.has("LOGIN")) {
    reply = await ask(channel, "AUTH LOGIN", bounds);
    if (reply.code === 334) reply = await ask(channel, base64(username), bounds);
    if (reply.code === 334) reply = await ask(channel, base64(password), bounds);
  } else {
    const what = offered === undefined ? "no AUTH" : `AUTH ${offered.slice(0, 80)}`;
    throw new SmtpFailure("auth_unavailable", `The server offers ${what}, PLAIN or LOGIN is needed`);
  }
  if (replyClass(reply) !== 2) {
    throw refused("auth_refused", "The server refuses the credentials", withoutSecret(reply, credentials));
  }
}

/** Some servers repeat what they were told: nothing of it may reach a log. */
function withoutSecret(reply: Reply, { username, password }: Credentials): Reply {
  const secrets = [password, base64(password), base64(`\0${username}\0${password}`)];
  const clean = (line: string) => secrets.reduce((text, secret) => text.replaceAll(secret, "[secret]"), line);
  return { ...reply, lines: reply.lines.map(clean) };
}

/** Sends one command and waits for its reply; throws `SmtpFailure`. */
export async function ask(channel: Channel, command: string, bounds: CallBounds): Promise<Reply> {
  channel.write(`${command}\r\n`);
  return await channel.reply(stepLimits.command, bounds);
}

function refused(code: SmtpFailureCode, what: string, reply: Reply): SmtpFailure {
  return new SmtpFailure(code, `${what}: ${replyText(reply)}`, reply);
}

function base64(text: string): string {
  return Buffer.from(text, "utf-8").toString("base64");
}

function addressLiteral(address: string): string {
  return net.isIPv6(address) ? `[IPv6:${address}]` : `[${address}]`;
}
