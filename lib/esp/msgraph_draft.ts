import { Buffer } from "node:buffer";
import { z } from "zod";
import { detachParts } from "../mime/detach_parts.ts";
import type { DetachedPart } from "../mime/detach_parts.ts";
import { detachText } from "../mime/detach_text.ts";
import type { MessageWithoutText } from "../mime/detach_text.ts";
import type { Outgoing } from "../mime/outgoing.ts";
import type { GraphMailbox, GraphResult } from "./msgraph_call.ts";
import { outcomeOfUnsent } from "./msgraph_outcome.ts";
import { callField } from "./msgraph_settings.ts";
import type { RecipientOutcome } from "./outcome.ts";

/** What is left of a message after its attachments were taken out should be this small, and must be below the second. */
const wantedRest = 2 * 1024 * 1024;
const largestRest = 2_900_000;
/** Of a request that sets the text alone. */
const largestBody = 3_900_000;
const mostAttachments = 250;
/** An attachment of this size or more goes up in pieces, each a multiple of 320 KiB below 4 MB. */
const uploadFrom = 2_900_000;
const pieceSize = 12 * 320 * 1024;
/**
 * What a draft lacks must be added within this time: its worker waits eleven minutes for the end of a call and then
 * counts it as lost, so a draft that was sent later would be sent twice.
 */
const longestMs = 480_000;
/** No call lasts as long: an older draft belongs to nobody. */
const abandonedAfterMs = 3_600_000;

/**
 * Sends a message too large for one request: a draft of all but its largest attachments, then these, then the draft is
 * sent. Until the last step nothing has left, so whatever fails before can be tried again; the draft is removed then.
 */
export async function sendByDraft(
  mailbox: GraphMailbox,
  message: Outgoing,
  signal: AbortSignal,
  clock = () => performance.now(),
): Promise<GraphResult> {
  const { rest, parts } = await detachParts(await message.bytes(), wantedRest, mostAttachments);
  const apart = rest.length > largestRest ? await detachText(rest) : undefined;
  const body = apart === undefined ? undefined : bodyUpdate(apart);
  const skeleton = apart?.rest ?? rest;
  if (skeleton.length > largestRest || (body !== undefined && body.length > largestBody)) {
    return { outcome: tooLarge(rest.length) };
  }
  const created = await mailbox.call(
    { path: "messages", contentType: "text/plain", body: Buffer.from(skeleton).toString("base64") },
    201,
    signal,
  );
  if (created.outcome.kind !== "accepted") return unsent(created);
  const id = idOf(created);
  if (id === undefined) return unsent({ ...created, outcome: unnamed });
  const path = `messages/${encodeURIComponent(id)}`;
  const span = { endAt: clock() + longestMs, clock, signal };
  const failed = await complete(mailbox, path, { ...(body === undefined ? {} : { body }), parts }, span);
  if (failed === undefined) return await sendDraft(mailbox, path, signal);
  await removeDraft(mailbox, path);
  return unsent(failed);
}

/** Adds to a draft what it lacks; answers what went wrong, if anything did. */
async function complete(
  mailbox: GraphMailbox,
  path: string,
  { body, parts }: { readonly body?: Uint8Array; readonly parts: readonly DetachedPart[] },
  span: Span,
): Promise<GraphResult | undefined> {
  const { endAt, clock, signal } = span;
  if (body !== undefined) {
    const request = { method: "PATCH", path, contentType: "application/json", body } as const;
    const updated = await mailbox.call(request, 200, signal);
    if (updated.outcome.kind !== "accepted") return updated;
  }
  for (const part of parts) {
    if (clock() > endAt) return { outcome: tooSlow };
    const attached = await attach(mailbox, path, part, span);
    if (attached.outcome.kind !== "accepted") return attached;
  }
  return undefined;
}

/** Sets a draft's text by itself: as JSON it needs less room than in base64. */
function bodyUpdate({ format, text }: MessageWithoutText): Uint8Array {
  const content = text.toWellFormed().replaceAll("\r\n", "\n");
  return new TextEncoder().encode(JSON.stringify({ body: { contentType: format, content } }));
}

async function sendDraft(mailbox: GraphMailbox, path: string, signal: AbortSignal): Promise<GraphResult> {
  // A request without a body would be repeated when its connection breaks, and the mail might be sent twice.
  const request = { path: `${path}/send`, contentType: "application/json", body: "{}", sendsMail: true };
  const sent = await mailbox.call(request, 202, signal);
  const { outcome, answer } = sent;
  if (outcome.kind === "accepted" || outcome.kind === "unknown") return sent;
  // A draft that is no longer there has been sent, unless somebody deleted it.
  if (answer?.espCode === "ErrorItemNotFound") {
    return { ...sent, outcome: { kind: "unknown", fault: outcome.fault } };
  }
  await removeDraft(mailbox, path);
  return sent;
}

/** How long a draft may be worked on: by a clock in milliseconds that never goes back, and until the call is ended. */
interface Span {
  readonly endAt: number;
  readonly clock: () => number;
  readonly signal: AbortSignal;
}

async function attach(
  mailbox: GraphMailbox,
  path: string,
  part: DetachedPart,
  span: Span,
): Promise<GraphResult> {
  const content = part.content();
  const { name, contentType, contentId, isInline } = part;
  const common = { name, contentType, isInline, ...(contentId === undefined ? {} : { contentId }) };
  if (content.length >= uploadFrom) return await upload(mailbox, path, common, content, span);
  const attachment = {
    "@odata.type": "#microsoft.graph.fileAttachment",
    ...common,
    contentBytes: content.toBase64(),
  };
  const request = {
    path: `${path}/attachments`,
    contentType: "application/json",
    body: JSON.stringify(attachment),
  };
  return await mailbox.call(request, 201, span.signal);
}

async function upload(
  mailbox: GraphMailbox,
  path: string,
  common: Readonly<Record<string, string | boolean>>,
  content: Uint8Array,
  { endAt, clock, signal }: Span,
): Promise<GraphResult> {
  const item = { AttachmentItem: { attachmentType: "file", size: content.length, ...common } };
  const request = {
    path: `${path}/attachments/createUploadSession`,
    contentType: "application/json",
    body: JSON.stringify(item),
  };
  const opened = await mailbox.call(request, 201, signal);
  if (opened.outcome.kind !== "accepted") return opened;
  const url = uploadUrlOf(opened);
  if (url === undefined || !mailbox.isUploadUrl(url)) return { ...opened, outcome: foreignUrl };
  let last = opened;
  for (let from = 0; from < content.length; from += pieceSize) {
    if (clock() > endAt) return { outcome: tooSlow };
    const piece = content.subarray(from, from + pieceSize);
    const to = from + piece.length;
    const headers = {
      "content-type": "application/octet-stream",
      "content-range": `bytes ${from}-${to - 1}/${content.length}`,
    };
    const result = await mailbox.put(url, headers, piece, signal);
    last = mailbox.read(result, to === content.length ? 201 : 200);
    if (last.outcome.kind !== "accepted") return { ...last, outcome: ofUpload(last.outcome) };
  }
  return last;
}

/** An upload's URL carries a right of its own, which ends: what it refuses says nothing of the account. */
function ofUpload(outcome: RecipientOutcome): RecipientOutcome {
  if (outcome.kind !== "wait" || outcome.cause === "throttled" || outcome.fault.blame === "message") {
    return outcome;
  }
  return { kind: "retry", fault: outcome.fault };
}

/** Nothing was sent, whatever became of the request. */
function unsent(result: GraphResult): GraphResult {
  return { ...result, outcome: outcomeOfUnsent(result.outcome) };
}

/** A draft that cannot be removed now is found later by `removeDrafts`. */
async function removeDraft(mailbox: GraphMailbox, path: string): Promise<void> {
  await mailbox.call({ method: "DELETE", path }, 204, new AbortController().signal);
}

const draftsPage = z.object({
  value: z.array(z.object({
    id: z.string().min(1).max(2000),
    isDraft: z.boolean(),
    createdDateTime: z.string().max(100),
  })).max(1000),
});

/** Removes drafts of ours that are older than an hour, at most a hundred; throws when Graph does not let us. */
export async function removeDrafts(mailbox: GraphMailbox, now: Date, signal: AbortSignal): Promise<number> {
  // Exchange makes of each header field of its own kind a property in this set, so the mark is there from the start.
  const property = `String {00020386-0000-0000-C000-000000000046} Name ${callField}`;
  const query = new URLSearchParams({
    $filter: `singleValueExtendedProperties/Any(ep: ep/id eq '${property}' and ep/value ne null)`,
    $select: "id,isDraft,createdDateTime",
    $top: "100",
  });
  const path = `mailFolders/drafts/messages?${query.toString().replaceAll("+", "%20")}`;
  const listed = await mailbox.call({ method: "GET", path }, 200, signal);
  // Who may not look at drafts could not make any.
  if (listed.result?.kind === "answered" && listed.result.status === 403) return 0;
  if (listed.outcome.kind !== "accepted") {
    throw new Error(`Cannot list drafts: ${listed.outcome.fault.detail}`);
  }
  const page = draftsPage.safeParse(jsonOf(listed));
  if (!page.success) throw new Error("Cannot list drafts: the answer is not a list of messages");
  let count = 0;
  for (const { id, isDraft, createdDateTime } of page.data.value) {
    const age = now.getTime() - Date.parse(createdDateTime);
    if (!isDraft || !(age > abandonedAfterMs)) continue;
    const request = { method: "DELETE", path: `messages/${encodeURIComponent(id)}` } as const;
    const { outcome } = await mailbox.call(request, 204, signal);
    if (outcome.kind === "accepted") count++;
  }
  return count;
}

function idOf(result: GraphResult): string | undefined {
  const found = z.object({ id: z.string().min(1).max(2000) }).safeParse(jsonOf(result));
  return found.success ? found.data.id : undefined;
}

function uploadUrlOf(result: GraphResult): URL | undefined {
  const found = z.object({ uploadUrl: z.string().max(20_000) }).safeParse(jsonOf(result));
  return found.success ? URL.parse(found.data.uploadUrl) ?? undefined : undefined;
}

function jsonOf({ result }: GraphResult): unknown {
  return result?.kind === "answered" ? result.json : undefined;
}

function tooLarge(size: number): RecipientOutcome {
  const detail = `Graph takes ${largestRest} bytes of a message in one piece, attachments not counted: ` +
    `the message has ${size}`;
  return { kind: "refused", fault: { blame: "message", code: "message_too_large", detail } };
}

const tooSlow: RecipientOutcome = {
  kind: "retry",
  fault: { blame: "provider", code: "timeout", detail: "The attachments took longer than eight minutes" },
};

const unnamed: RecipientOutcome = {
  kind: "retry",
  fault: {
    blame: "provider",
    code: "answer_unexpected",
    detail: "Graph did not name the draft that it made",
  },
};

const foreignUrl: RecipientOutcome = {
  kind: "wait",
  cause: "configuration",
  fault: { blame: "provider", code: "answer_unexpected", detail: "Graph named a foreign place to upload to" },
};
