import { z } from "zod";
import type { RecipientId } from "../ids.ts";
import type { Body } from "../store/body.ts";
import { accountSecrets, accountSettings, httpEndpoint } from "./account_settings.ts";
import type { AccountCheck, Esp, EspIo, EspKind, Parcel } from "./esp.ts";
import type { CallReport, RecipientOutcome } from "./outcome.ts";
import { storable } from "../storable.ts";

const settings = z.strictObject({
  ...accountSettings,
  endpoint: httpEndpoint.describe("Has no effect: nothing is called"),
});

/** The settings of `stdout`: those that every kind has, none of them counts here. */
export type StdoutSettings = z.output<typeof settings>;

/** Prints mail instead of sending it: headers and sizes, the text only where `io.showText` allows (ruling 1.11). */
export const stdout: EspKind<StdoutSettings> = {
  name: "stdout",
  settings,
  secretKeys: accountSecrets,
  targetKeys: [],
  open: (_settings, io) => new Stdout(io),
};

/** Most that is printed of one message, in bytes. */
const printedLimit = 64 * 1024;

class Stdout implements Esp {
  readonly limits = { recipients: 1000, bytes: Number.MAX_SAFE_INTEGER };
  readonly smtpUtf8 = true;
  readonly #io: EspIo;

  constructor(io: EspIo) {
    this.#io = io;
  }

  async deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport> {
    const outcome = await this.#print(parcel, signal);
    const recipients = new Map<RecipientId, RecipientOutcome>();
    for (const { id } of parcel.recipients) recipients.set(id, outcome);
    return outcome.kind === "accepted"
      ? { recipients, providerMessageId: `stdout-${parcel.message.id}` }
      : { recipients };
  }

  check(): Promise<AccountCheck> {
    return Promise.resolve({ faults: [] });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async #print(parcel: Parcel, signal: AbortSignal): Promise<RecipientOutcome> {
    try {
      signal.throwIfAborted();
      const { header, text, isCut } = await beginning(parcel.body);
      signal.throwIfAborted();
      this.#io.print(this.#sheet(parcel, header, isCut ? `${text}\n[cut]` : text));
      return { kind: "accepted" };
    } catch (error) {
      const code = signal.aborted ? "aborted" : "body_unreadable";
      return {
        kind: "wait",
        cause: "unavailable",
        fault: { blame: "message", code, detail: limited(error) },
      };
    }
  }

  #sheet({ message, recipients, body }: Parcel, header: string, text: string): string {
    const lines = [
      `--- message ${message.id}, ${body.size} bytes`,
      `from <${message.mailFrom}> to ${recipients.map(({ address }) => `<${address}>`).join(" ")}`,
      header.trimEnd(),
    ];
    if (this.#io.showText) lines.push("", text.trimEnd());
    // What a mail holds must not steer the terminal that shows it.
    return `${lines.join("\n").replace(/\r\n/g, "\n").replace(/[^\P{Cc}\n\t]/gu, "\u{fffd}")}\n`;
  }
}

async function beginning(body: Body) {
  const decoder = new TextDecoder();
  let all = "";
  let length = 0;
  for await (const chunk of body.stream()) {
    all += decoder.decode(chunk.subarray(0, Math.max(0, printedLimit - length)), { stream: true });
    length += chunk.length;
    if (length > printedLimit) break;
  }
  const end = all.startsWith("\r\n") ? 0 : all.indexOf("\r\n\r\n");
  const header = withoutBcc(end < 0 ? all : all.slice(0, end));
  return { header, text: end < 0 ? "" : all.slice(end).trimStart(), isCut: length > printedLimit };
}

function withoutBcc(header: string): string {
  return header.split(/(?<=\r\n)(?![ \t])/).filter((field) => !/^(resent-)?bcc\s*:/i.test(field)).join("");
}

function limited(error: unknown): string {
  return storable(String(error), 500);
}
