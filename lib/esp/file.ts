import { mkdir, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { RecipientId } from "../ids.ts";
import { droppedFields } from "../mime/header_edits.ts";
import { openOutgoing } from "../mime/outgoing.ts";
import { accountSecrets, accountSettings, httpEndpoint } from "./account_settings.ts";
import type { AccountCheck, Esp, EspIo, EspKind, Parcel } from "./esp.ts";
import type { CallReport, RecipientOutcome } from "./outcome.ts";
import { storable } from "../storable.ts";

const settings = z.strictObject({
  ...accountSettings,
  endpoint: httpEndpoint.describe("Has no effect: nothing is called"),
  folder: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/).default("mail")
    .describe("Folder for the files, below `esp.file_folder`"),
});

/** The settings of `file`. */
export type FileSettings = z.output<typeof settings>;

/**
 * Writes mail into a folder instead of sending it: `<message id>-<call id>.eml` holds what a recipient would get, the
 * `.json` beside it the envelope. Opens only where `io.mailFolder` allows it.
 */
export const file: EspKind<FileSettings> = {
  name: "file",
  settings,
  secretKeys: accountSecrets,
  targetKeys: [],
  open(given, io) {
    if (io.mailFolder === undefined) {
      throw new Error("Cannot write mail to files: esp.allow_file is false");
    }
    return new MailFolder(join(io.mailFolder, given.folder), given, io);
  },
};

class MailFolder implements Esp {
  readonly limits = { recipients: 1000, bytes: Number.MAX_SAFE_INTEGER, parallel: 20 };
  readonly memoryPerByte = 1;
  readonly smtpUtf8 = true;
  readonly #folder: string;
  readonly #dropped: readonly string[];
  readonly #io: EspIo;

  constructor(folder: string, given: FileSettings, io: EspIo) {
    this.#folder = folder;
    this.#dropped = droppedFields(given);
    this.#io = io;
  }

  async deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport> {
    const name = `${parcel.message.id}-${parcel.call}`;
    const outcome = await this.#write(parcel, name, signal);
    const recipients = new Map<RecipientId, RecipientOutcome>();
    for (const { id } of parcel.recipients) recipients.set(id, outcome);
    return outcome.kind === "accepted" ? { recipients, providerMessageId: name } : { recipients };
  }

  async check(): Promise<AccountCheck> {
    const name = join(this.#folder, `check-${crypto.randomUUID()}`);
    try {
      await write(this.#folder, name, new Uint8Array());
      await rm(name);
      return { faults: [] };
    } catch (error) {
      return { faults: [{ blame: "provider", code: "folder_unusable", detail: limited(error) }] };
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async #write(parcel: Parcel, name: string, signal: AbortSignal): Promise<RecipientOutcome> {
    let mail: Uint8Array;
    try {
      signal.throwIfAborted();
      mail = await (await openOutgoing(parcel.body, { dropped: this.#dropped })).bytes();
      signal.throwIfAborted();
    } catch (error) {
      const code = signal.aborted ? "aborted" : "body_unreadable";
      const fault = { blame: "message", code, detail: limited(error) } as const;
      return { kind: "wait", cause: "unavailable", fault };
    }
    try {
      // The mail is written last: whoever sees it finds its envelope.
      await write(this.#folder, join(this.#folder, `${name}.json`), this.#envelopeOf(parcel));
      await write(this.#folder, join(this.#folder, `${name}.eml`), mail);
      return { kind: "accepted" };
    } catch (error) {
      const fault = { blame: "provider", code: "folder_unusable", detail: limited(error) } as const;
      return { kind: "wait", cause: "configuration", fault };
    }
  }

  #envelopeOf({ message, call, recipients }: Parcel): Uint8Array {
    const envelope = {
      message: message.id,
      call,
      writtenAt: this.#io.now().toISOString(),
      mailFrom: message.mailFrom,
      recipients: recipients.map(({ address }) => address),
    };
    return new TextEncoder().encode(`${JSON.stringify(envelope, undefined, 2)}\n`);
  }
}

/** Nobody ever sees half a file of that name. */
async function write(folder: string, path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const half = `${path}.part`;
  const handle = await open(half, "w", 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(half, path);
}

function limited(error: unknown): string {
  return storable(String(error), 500);
}
