import { withCorrelation } from "../../lib/esp/correlation.ts";
import type { Esp, Parcel } from "../../lib/esp/esp.ts";
import type { CallReport, RecipientOutcome } from "../../lib/esp/outcome.ts";
import { type CallId, newId, type RecipientId } from "../../lib/ids.ts";
import type { Recipient } from "../../lib/messages/message.ts";
import type { CallStart } from "../../lib/messages/delivery_logs_table.ts";
import type { CallEnd } from "../../lib/messages/outcomes_table.ts";
import type { Body } from "../../lib/store/body.ts";
import { startSpan } from "../../lib/telemetry/tracing.ts";
import type { DeliveryTerms } from "./crew.ts";
import { type Delivery, settle } from "./delivery.ts";
import { Interrupted } from "./interrupted.ts";
import type { OpenProvider } from "./open_providers.ts";
import { reportInTime } from "./report_in_time.ts";
import type { Slots } from "./slots.ts";
import { storable } from "../../lib/storable.ts";

/** A provider that can be called. */
export interface Callable {
  readonly provider: OpenProvider;
  readonly esp: Esp;
  readonly places: Slots;
  /** Absent where no rule decided. */
  readonly decision?: RouteDecision;
}

/** The rule that led to a call, and the provider's place in the route that followed from it. */
export type RouteDecision = NonNullable<CallStart["decision"]>;

/** A call that was made, for its settlement. */
export interface MadeCall {
  readonly end: CallEnd;
  readonly report: CallReport;
}

const graceMs = 30_000;
const notMade = "Handed back before the call was made";

/**
 * Calls a provider for some recipients of a message: the call's row is committed first, and the slot is held until
 * `settled` resolves, so that a process that dies leaves no more unsettled calls than it has slots.
 */
export async function callProvider<T>(
  delivery: Delivery,
  { provider, esp, places, decision }: Callable,
  recipients: readonly Recipient[],
  body: Body,
  settled: (made: MadeCall) => Promise<T>,
): Promise<T> {
  const { claim, crew } = delivery;
  const parcel: Parcel = { call: newId<CallId>(), message: claim.message, recipients, body };
  // Where a call that is only written down would be held back for ever after a crash, it is written last.
  const startsLate = provider.unknown === "hold";
  if (!startsLate) await start(delivery, provider, parcel, decision);
  using _place = await placeFor(delivery, places, startsLate ? undefined : parcel.call);
  using _slot = await placeFor(delivery, crew.slots, startsLate ? undefined : parcel.call);
  if (startsLate) await start(delivery, provider, parcel, decision);
  if (delivery.leftMs() < crew.terms.callTimeoutMs) {
    return await handBack(delivery, "lease_short", parcel.call);
  }
  const began = performance.now();
  const report = completed(parcel, await deliverNamed(delivery, { provider, esp }, parcel));
  const durationMs = performance.now() - began;
  count(delivery, provider, report, durationMs);
  if (provider.id !== undefined) await noteHealth(delivery, { ...provider, id: provider.id }, report);
  return await settled({ end: endOf(parcel, provider, report, durationMs), report });
}

async function start(
  delivery: Delivery,
  provider: OpenProvider,
  parcel: Parcel,
  decision: RouteDecision | undefined,
): Promise<void> {
  const { claim, crew } = delivery;
  const mayBegin = await crew.records.startCall({
    call: parcel.call,
    message: claim.message.id,
    group: claim.message.group,
    user: claim.message.user,
    claim: claim.number,
    ...(provider.id !== undefined && { provider: provider.id }),
    providerType: provider.type,
    recipients: parcel.recipients.map(({ id }) => id),
    attempt: Math.max(...parcel.recipients.map(({ attempts }) => attempts)) + 1,
    limitMs: crew.terms.callTimeoutMs,
    ...(decision !== undefined && { decision }),
  }, crew.stopped);
  if (mayBegin) return;
  // An earlier try of this very statement may have written it, whose answer was lost: it was not made all the same. No
  // call comes of this claim, which goes on counting as one that was dropped.
  await settle(delivery, {
    then: "go on",
    calls: [{ call: parcel.call, status: "failed", error: notMade }],
    ofDroppedClaim: true,
  });
  throw new Interrupted("lease_short");
}

/** Waits for a place; hands the message back when the process stops taking part meanwhile. */
async function placeFor(delivery: Delivery, slots: Slots, call: CallId | undefined): Promise<Disposable> {
  const { claim, crew, signal } = delivery;
  if (crew.draining.aborted) return await handBack(delivery, "draining", call);
  try {
    return await slots.take(claim.message.group, signal);
  } catch (error) {
    if (error instanceof Interrupted && error.why === "draining") {
      return await handBack(delivery, "draining", call);
    }
    throw error;
  }
}

/** Takes a call back that was written down and is not going to be made. */
async function handBack(
  delivery: Delivery,
  why: "draining" | "lease_short",
  call: CallId | undefined,
): Promise<never> {
  if (call !== undefined) {
    await settle(delivery, { then: "go on", calls: [{ call, status: "failed", error: notMade }] });
  }
  throw new Interrupted(why);
}

/** The call, which both its service and a trace can tell whose it is. */
async function deliverNamed(
  delivery: Delivery,
  { provider, esp }: Pick<Callable, "provider" | "esp">,
  parcel: Parcel,
): Promise<CallReport> {
  const call = () =>
    withCorrelation(parcel.message.correlationId, () => deliverInTime(delivery, esp, parcel));
  const span = delivery.span && startSpan(`call ${provider.type}`, { parent: delivery.span });
  if (span === undefined) return await call();
  span.set({
    "call.id": parcel.call,
    "provider.type": provider.type,
    "call.recipients": parcel.recipients.length,
  });
  const report = await span.run(call);
  const worst = [...report.recipients.values()].find(({ kind }) => kind !== "accepted");
  if (worst !== undefined && worst.kind !== "accepted") span.fail(`${worst.kind}: ${worst.fault.code}`);
  span.end();
  return report;
}

/** The port promises a report whatever happens; a call of which nobody knows the end is `unknown`. */
async function deliverInTime(delivery: Delivery, esp: Esp, parcel: Parcel): Promise<CallReport> {
  const { crew, signal } = delivery;
  try {
    return await reportInTime(reportLimitMs(crew.terms), signal, (own) => esp.deliver(parcel, own));
  } catch (error) {
    const { id: messageId, correlationId } = parcel.message;
    crew.log.error("provider broke its promise", { messageId, correlationId, call: parcel.call, error });
    const detail = error instanceof Error ? error.message : String(error);
    return { recipients: new Map(parcel.recipients.map(({ id }) => [id, lostCount("esp_fault", detail)])) };
  }
}

/** How long a provider's report is waited for, in milliseconds: longer than any call may take by its own limits. */
export function reportLimitMs({ callTimeoutMs, answerTimeoutMs }: ReportTerms): number {
  return callTimeoutMs + answerTimeoutMs + graceMs;
}

type ReportTerms = Pick<DeliveryTerms, "callTimeoutMs" | "answerTimeoutMs">;

function lostCount(code: string, detail: string): RecipientOutcome {
  return { kind: "unknown", fault: { blame: "provider", code, detail: storable(detail, 500) } };
}

function completed(parcel: Parcel, report: CallReport): CallReport {
  const missing = parcel.recipients.filter(({ id }) => !report.recipients.has(id));
  if (missing.length === 0) return report;
  const added = missing.map(({ id }): [RecipientId, RecipientOutcome] => [
    id,
    lostCount("not_reported", "The report does not name this recipient"),
  ]);
  return { ...report, recipients: new Map([...report.recipients, ...added]) };
}

function count({ crew }: Delivery, { type }: OpenProvider, report: CallReport, durationMs: number): void {
  const { attempts, faults, retries, callDuration } = crew.metrics.worker;
  callDuration.observe({ provider_type: type }, durationMs / 1000);
  for (const outcome of report.recipients.values()) {
    attempts.add({ provider_type: type, outcome: outcome.kind });
    if (outcome.kind !== "accepted") faults.add({ provider_type: type, code: outcome.fault.code });
    if (outcome.kind === "retry") retries.add({ provider_type: type, reason: outcome.fault.blame });
  }
}

/** The call's own end must be written whether or not its provider's state can be. */
async function noteHealth(
  { crew }: Delivery,
  provider: OpenProvider & { readonly id: NonNullable<OpenProvider["id"]> },
  report: CallReport,
): Promise<void> {
  try {
    await crew.health.note(provider, report);
  } catch (error) {
    crew.log.warn("cannot note a provider's state", { provider: provider.id, error });
  }
}

function endOf(parcel: Parcel, provider: OpenProvider, report: CallReport, durationMs: number): CallEnd {
  const outcomes = [...report.recipients.values()];
  const worst = outcomes.find((outcome) => outcome.kind !== "accepted");
  return {
    call: parcel.call,
    status: statusOf(outcomes),
    durationMs,
    ...(provider.id !== undefined && { provider: provider.id }),
    ...(report.providerMessageId !== undefined && { providerMessageId: report.providerMessageId }),
    ...(report.answer !== undefined && { answer: report.answer }),
    ...(worst !== undefined && { error: `${worst.fault.code}: ${worst.fault.detail}` }),
  };
}

function statusOf(outcomes: readonly RecipientOutcome[]): CallEnd["status"] {
  const accepted = outcomes.filter(({ kind }) => kind === "accepted").length;
  if (accepted === outcomes.length) return "delivered";
  if (accepted > 0) return "partial";
  return outcomes.some(({ kind }) => kind === "unknown") ? "unknown" : "failed";
}
