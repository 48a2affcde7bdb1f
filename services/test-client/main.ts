import { lookup } from "node:dns/promises";
import { basename } from "node:path";
import { sendOnce } from "../../lib/smtp/client.ts";
import { SmtpFailure } from "../../lib/smtp/failure.ts";
import { replyClass, replyText } from "../../lib/smtp/reply.ts";
import type { SmtpTarget } from "../../lib/smtp/session.ts";
import type { Envelope, TransactionResult } from "../../lib/smtp/transaction.ts";
import { versionLine } from "../../lib/version.ts";
import { bareAddress, composeMail } from "./compose.ts";
import type { AttachedFile } from "./compose.ts";
import { parseFlags, usage } from "./flags.ts";
import type { ClientSettings } from "./flags.ts";

const encoder = new TextEncoder();

/** Runs the test client: 0 when everything was sent, 1 when anything failed, 2 when the call was wrong. */
async function runTestClient(args: readonly string[]): Promise<number> {
  if (args.includes("--version")) {
    print(`${versionLine("test-client", Deno.env.get("SMTP_PROXY_BUILD_COMMIT"))}\n`);
    return 0;
  }
  const parsed = parseFlags(args, (name) => Deno.env.get(name));
  if (parsed.kind === "help") {
    print(usage());
    return 0;
  }
  if (parsed.kind === "wrong") {
    complain(`${parsed.mistakes.map((mistake) => `Error: ${mistake}\n`).join("")}\n${usage()}`);
    return 2;
  }
  const files = await readFiles(parsed.settings.attach);
  if (files === undefined) return 2;
  print(banner(parsed.settings));
  return await sendAll(parsed.settings, files);
}

async function readFiles(paths: readonly string[]): Promise<readonly AttachedFile[] | undefined> {
  try {
    return await Promise.all(
      paths.map(async (path) => ({ name: basename(path), bytes: await Deno.readFile(path) })),
    );
  } catch (error) {
    complain(`Error: Cannot read attachment: ${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  }
}

async function sendAll(settings: ClientSettings, files: readonly AttachedFile[]): Promise<number> {
  const { count, rate } = settings;
  const begin = performance.now();
  let sent = 0;
  let reportedAt = begin;
  for (let number = 1; number <= count; number++) {
    await pause(begin + (number - 1) * 1000 / rate - performance.now());
    const started = performance.now();
    const problem = await sendNumber(settings, files, number);
    if (problem === undefined) sent++;
    const verdict = problem === undefined ? "OK" : "FAIL";
    print(
      `[${number}/${count}] ${verdict} (${duration(started)})${
        problem === undefined ? "" : `: ${problem}`
      }\n`,
    );
    if (count > 1 && (number === count || performance.now() - reportedAt > 1000)) {
      reportedAt = performance.now();
      const speed = number / Math.max(0.001, (reportedAt - begin) / 1000);
      complain(`Progress: ${number} of ${count}, ${speed.toFixed(1)} a second\n`);
    }
  }
  print(`Results: ${sent} sent, ${count - sent} failed, total time ${duration(begin)}\n`);
  return sent === count ? 0 : 1;
}

/** What went wrong; undefined when every recipient was taken. */
async function sendNumber(
  settings: ClientSettings,
  files: readonly AttachedFile[],
  number: number,
): Promise<string | undefined> {
  try {
    const bytes = await composeMail({ ...settings, files }, number, settings.count);
    return problemOf(await sendToFirst(settings, envelopeOf(settings), bytes), settings.to);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function envelopeOf(settings: ClientSettings): Envelope {
  const addresses = [settings.from, ...settings.to].map(bareAddress);
  return {
    mailFrom: addresses[0] ?? "",
    recipients: addresses.slice(1).map((address) => ({ address })),
    eightBit: false,
    smtpUtf8: addresses.some((address) => /[^\p{ASCII}]/u.test(address)),
  };
}

/** Tries the host's addresses in turn until one can be connected to. */
async function sendToFirst(
  settings: ClientSettings,
  envelope: Envelope,
  bytes: Uint8Array,
): Promise<TransactionResult> {
  const addresses = await lookup(settings.host, { all: true });
  for (const [index, { address }] of addresses.entries()) {
    try {
      return await sendOnce(targetOf(settings, address), envelope, bytes);
    } catch (error) {
      const isNext = error instanceof SmtpFailure && error.code.startsWith("connect_");
      if (!isNext || index === addresses.length - 1) throw error;
    }
  }
  throw new Error(`Cannot resolve ${settings.host}: it has no address`);
}

function targetOf(settings: ClientSettings, address: string): SmtpTarget {
  const { host, port, tls, insecure, user, password } = settings;
  const hasCredentials = user !== "" && password !== "";
  return {
    address,
    port,
    tls,
    verify: !insecure,
    ...(host === address ? {} : { servername: host }),
    ...(hasCredentials ? { credentials: { username: user, password } } : {}),
  };
}

function problemOf(result: TransactionResult, to: readonly string[]): string | undefined {
  const { mail, recipients, data, answer, failure } = result;
  const refused = recipients.flatMap((reply, index) =>
    reply === undefined || replyClass(reply) === 2 ? [] : [`${to[index]}: ${replyText(reply)}`]
  );
  if (mail !== undefined && replyClass(mail) !== 2) return replyText(mail);
  if (failure !== undefined) return failure.message;
  if (refused.length > 0) return refused.join("; ");
  if (answer !== undefined && replyClass(answer) === 2) return undefined;
  const reply = answer ?? data;
  return reply === undefined ? "No answer" : replyText(reply);
}

function banner(settings: ClientSettings): string {
  const { host, port, tls, insecure, user, from, to, subject, count, rate, attach } = settings;
  return [
    `Server:  ${host}:${port} (tls ${tls}${insecure ? ", certificate not verified" : ""})`,
    `Auth:    ${user === "" || settings.password === "" ? "none" : `as ${user}`}`,
    `From:    ${from}`,
    `To:      ${to.join(", ")}`,
    `Subject: ${subject}`,
    ...(attach.length === 0 ? [] : [`Attach:  ${attach.join(", ")}`]),
    `Count:   ${count}${count > 1 ? ` at ${rate} a second` : ""}`,
    "",
  ].join("\n") + "\n";
}

function duration(since: number): string {
  const ms = performance.now() - since;
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(2)}s`;
}

async function pause(ms: number): Promise<void> {
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
}

function print(text: string): void {
  Deno.stdout.writeSync(encoder.encode(text));
}

function complain(text: string): void {
  Deno.stderr.writeSync(encoder.encode(text));
}

if (import.meta.main) Deno.exit(await runTestClient(Deno.args));
