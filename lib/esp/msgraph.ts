import type { Recipient } from "../messages/message.ts";
import { droppedFields, messageIdField } from "../mime/header_edits.ts";
import type { HeaderEdits } from "../mime/header_edits.ts";
import { openOutgoing } from "../mime/outgoing.ts";
import type { Outgoing } from "../mime/outgoing.ts";
import type { AccountCheck, Esp, EspIo, EspKind, Parcel } from "./esp.ts";
import { GraphMailbox } from "./msgraph_call.ts";
import type { GraphResult } from "./msgraph_call.ts";
import { removeDrafts, sendByDraft } from "./msgraph_draft.ts";
import { graphError, isRecipientFault } from "./msgraph_outcome.ts";
import { callField, graphSecrets, graphSettings } from "./msgraph_settings.ts";
import type { GraphSettings } from "./msgraph_settings.ts";
import type { CallReport } from "./outcome.ts";
import { sendApart } from "./send_apart.ts";
import type { PartReport } from "./send_apart.ts";
import { outcomeOfUnreadable, reportOf } from "./whole_parcel.ts";

/** Microsoft Graph: mail leaves by a mailbox of Exchange Online. */
export const msgraph: EspKind<GraphSettings> = {
  name: "msgraph",
  settings: graphSettings,
  secretKeys: graphSecrets,
  targetKeys: ["endpoint", "cloud"],
  open: (given, io) => new MicrosoftGraph(given, io),
};

/** A request has 4 MB at most; as base64 that is less, and less than that has been seen to be taken. */
const wholeLimit = 2 * 1024 * 1024;

class MicrosoftGraph implements Esp {
  // Exchange Online answers four requests of one application for one mailbox at a time.
  readonly limits = { recipients: 500, bytes: 150 * 1024 * 1024, parallel: 4 };
  readonly memoryPerByte = 3;
  readonly smtpUtf8 = false;
  readonly #settings: GraphSettings;
  readonly #io: EspIo;
  readonly #mailbox: GraphMailbox;

  constructor(given: GraphSettings, io: EspIo) {
    this.#settings = given;
    this.#io = io;
    this.#mailbox = new GraphMailbox(given, io);
  }

  async deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport> {
    return await sendApart(parcel.recipients, (some) => this.#send(parcel, some, signal));
  }

  async check(signal: AbortSignal): Promise<AccountCheck> {
    const drafts = { method: "GET", path: "mailFolders/drafts?$select=id" } as const;
    const { outcome, result } = await this.#mailbox.call(drafts, 200, signal);
    if (outcome.kind === "accepted") return { faults: [] };
    // An application that may do nothing but send cannot look: what is no message proves that it may.
    if (result?.kind === "answered" && result.status === 403) return await this.#checkSending(signal);
    return { faults: [outcome.fault] };
  }

  async cleanUp(signal: AbortSignal): Promise<number> {
    return await removeDrafts(this.#mailbox, this.#io.now(), signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mailbox[Symbol.asyncDispose]();
  }

  async #checkSending(signal: AbortSignal): Promise<AccountCheck> {
    const { outcome, result } = await this.#sendWhole("!", signal);
    const isUnreadable = result?.kind === "answered" && result.status === 400 &&
      /mime|base64|body/i.test(graphError(result)?.code ?? "");
    return { faults: outcome.kind === "accepted" || isUnreadable ? [] : [outcome.fault] };
  }

  /** Sends to these recipients alone: To, Cc and Bcc together decide who gets the mail, and Exchange removes Bcc. */
  async #send(parcel: Parcel, recipients: readonly Recipient[], signal: AbortSignal): Promise<PartReport> {
    let result: GraphResult;
    try {
      signal.throwIfAborted();
      const message = await openOutgoing(parcel.body, this.#editsFor(parcel, recipients));
      result = await this.#hand(message, signal);
    } catch (error) {
      const unread = reportOf(parcel, outcomeOfUnreadable(error, signal), {}, recipients);
      return { ...unread, isRecipientFault: false };
    }
    const { outcome, answer } = result;
    // Graph names no id of its own; the header field is found in Sent Items and in reports of failure.
    const id = outcome.kind === "accepted" ? { providerMessageId: parcel.message.id } : {};
    const more = { ...id, ...(answer === undefined ? {} : { answer }) };
    return {
      ...reportOf(parcel, outcome, more, recipients),
      isRecipientFault: result.result !== undefined && isRecipientFault(result.result),
    };
  }

  async #hand(message: Outgoing, signal: AbortSignal): Promise<GraphResult> {
    if (message.size > wholeLimit) return await sendByDraft(this.#mailbox, message, signal);
    return await this.#sendWhole((await message.bytes()).toBase64(), signal);
  }

  async #sendWhole(body: string, signal: AbortSignal): Promise<GraphResult> {
    const request = { path: "sendMail", contentType: "text/plain", body, sendsMail: true };
    return await this.#mailbox.call(request, 202, signal);
  }

  #editsFor({ message, call, body }: Parcel, recipients: readonly Recipient[]): HeaderEdits {
    return {
      dropped: droppedFields(this.#settings),
      recipients: recipients.map(({ address }) => address),
      added: [
        { name: messageIdField, value: message.id },
        ...(body.size > wholeLimit / 2 ? [{ name: callField, value: call }] : []),
      ],
    };
  }
}
