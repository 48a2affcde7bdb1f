import type { Fault, RecipientOutcome } from "../../lib/esp/outcome.ts";
import type { Claim } from "../../lib/messages/claims_table.ts";
import type { Message, Recipient } from "../../lib/messages/message.ts";
import type { RecipientChange, Settled } from "../../lib/messages/outcomes_table.ts";
import type { Lease } from "../../lib/queue/queue.ts";
import type { Routing } from "../../lib/routing/route.ts";
import type { Body } from "../../lib/store/body.ts";
import { isTracing, type Span, startSpan } from "../../lib/telemetry/tracing.ts";
import type { Crew } from "./crew.ts";
import { changeFor, type Delivery, putOff, settle } from "./delivery.ts";
import { Interrupted } from "./interrupted.ts";
import { loadBody, memoryFor } from "./load_body.ts";
import { espOf, type OpenProvider } from "./open_providers.ts";
import { type DeliveryLeg, planByBody, planByEnvelope } from "./plan_legs.ts";
import { paused, type Rest } from "./provider_health.ts";
import { withoutSuppressed } from "./suppressed.ts";
import { tryRoute } from "./try_route.ts";
import { storable } from "../../lib/storable.ts";

/** Claims in a row that were dropped, after which a message is given up (ruling 3.4). */
const maxDroppedClaims = 8;
const afterFaultMs = 30_000;

/**
 * Delivers the message a doorbell rang for: claims it, tries its route, writes down what became of it, and settles
 * the doorbell last. Never throws for what a provider, the store, the queue or another worker did.
 */
export async function deliver(lease: Lease, crew: Crew): Promise<void> {
  const answer = await crew.records.claim(lease.message, crew.draining);
  if (answer.kind === "finished") return await crew.bells.done(lease); // the doorbell rang twice
  if (answer.kind === "busy") return await crew.bells.again(lease, answer.forMs);
  const delivery = begin(answer.claim, crew);
  try {
    const settled = await carry(await withoutSuppressed(await afterOpenCalls(delivery)));
    report(delivery, settled);
    delivery.span?.set({ "delivery.status": settled.status });
    await settleBell(lease, settled, crew); // row first, doorbell second
  } catch (error) {
    delivery.span?.fail(error);
    await giveBack(lease, delivery, error);
  } finally {
    delivery.span?.end();
    crew.claims.drop(answer.claim.number);
  }
}

function begin(claim: Claim, crew: Crew): Delivery {
  const span = isTracing ? traced(claim) : undefined;
  return {
    ...crew.claims.get(claim.number),
    claim,
    claimedAt: performance.now(),
    jitter: Math.random(),
    crew,
    ...span !== undefined && { span },
  };
}

/** Goes on with the trace of the session that brought the message; how long it waited is a span of its own. */
function traced({ message, claims }: Claim): Span | undefined {
  const parent = message.traceparent;
  const attributes = { "message.id": message.id, "correlation.id": message.correlationId };
  const isFirst = claims === 1 && message.recipients.every(({ attempts }) => attempts === 0);
  if (isFirst) startSpan("queue wait", { parent, attributes, startTimeMs: message.acceptedAtMs })?.end();
  return startSpan("delivery", { parent, attributes });
}

/** Calls of an earlier claim that nobody knows the end of are settled first, by their provider's policy. */
async function afterOpenCalls(delivery: Delivery): Promise<Delivery> {
  const { claim, crew } = delivery;
  if (claim.openCalls.length === 0) return delivery;
  using borrowed = await crew.providers.borrow(claim.message.group, claim.groupRevision);
  const fault: Fault = {
    blame: "provider",
    code: "crash",
    detail: "The worker died before it wrote down how the call ended",
  };
  const outcome: RecipientOutcome = { kind: "unknown", fault };
  const changes: RecipientChange[] = [];
  const calls = claim.openCalls.map(({ call, provider, recipients }) => {
    const unknown = borrowed.policyOf(provider);
    for (const recipient of claim.message.recipients) {
      if (!recipients.includes(recipient.id)) continue;
      changes.push(
        unknown === "hold"
          ? changeFor(delivery, recipient, { outcome, unknown })
          : sentAgain(delivery, recipient, fault),
      );
    }
    return { call, status: "unknown", error: fault.detail } as const;
  });
  await settle(delivery, { then: "go on", calls, changes, ofDroppedClaim: true });
  return { ...delivery, claim: claimAfter(claim, changes) };
}

/**
 * Most calls that a dead worker had written down were never begun, so they spend no attempt (ruling 3.4): what ends
 * its worker again and again is given up after so many claims.
 */
function sentAgain({ crew }: Delivery, { id }: Recipient, fault: Fault): RecipientChange {
  crew.metrics.worker.resent.add({ reason: "crash" });
  return { recipient: id, status: "pending", delayMs: 0, attemptSpent: false, kind: "unknown", fault };
}

/** The claim once open calls are settled. */
function claimAfter(claim: Claim, changes: readonly RecipientChange[]): Claim {
  const byRecipient = new Map(changes.map((change) => [change.recipient, change]));
  const recipients = claim.message.recipients.flatMap((recipient) => {
    const change = byRecipient.get(recipient.id);
    return change === undefined || change.status === "pending" ? [recipient] : [];
  });
  return { ...claim, openCalls: [], message: { ...claim.message, recipients } };
}

async function carry(delivery: Delivery): Promise<Settled> {
  const { claim, crew, signal } = delivery;
  const { message } = claim;
  if (message.recipients.length === 0) return await settle(delivery, { then: "conclude" });
  if (claim.claims > maxDroppedClaims) return await giveUp(delivery);
  if (!claim.groupActive) return await putOff(delivery, "suspended");
  using borrowed = await crew.providers.borrow(message.group, claim.groupRevision);
  const { routing } = borrowed;
  const early = planByEnvelope(routing, message);
  const usable = early?.flatMap(({ route }) => route) ?? routing.providers;
  if (usable.length === 0) return await putOff(delivery, "no_provider");
  const rest = await restOf(usable, crew);
  if (rest !== undefined) return await putOff(delivery, rest.obstacle, rest.forMs);
  const bytes = memoryFor(message.size, usable.map(espOf));
  using _memory = await crew.memory.reserve(bytes, signal);
  const loaded = await loadBody(message, crew, signal);
  if (loaded.kind === "down") {
    crew.log.warn("body store cannot be reached", { ...namesOf(message), error: loaded.error });
    return await putOff(delivery, "store_down");
  }
  if (loaded.kind === "gone") {
    const error = `The body is gone: ${storable(message.storageRef, 400)}`;
    return await settle(delivery, { then: "storage_error", error });
  }
  await using body = loaded.body;
  const legs = early ?? await lookInto(delivery, routing, body);
  return legs === undefined ? await putOff(delivery, "store_down") : await tryRoute(delivery, body, legs);
}

/** The plan of rules that look into a message; undefined when it cannot be read just now. */
async function lookInto(
  { claim: { message }, crew }: Delivery,
  routing: Routing<OpenProvider>,
  body: Body,
): Promise<readonly DeliveryLeg[] | undefined> {
  try {
    return await planByBody({ routing, message, body });
  } catch (error) {
    crew.log.warn("cannot look into a message to route it", { ...namesOf(message), error });
    return undefined;
  }
}

/** Why none of these is to be called now, by the first that may be again: then the body need not be read. */
async function restOf(providers: readonly OpenProvider[], { health }: Crew): Promise<Rest | undefined> {
  let shortest: Rest | undefined;
  for (const provider of providers) {
    let rest: Rest | undefined;
    if (provider.paused === true) rest = paused;
    else if (provider.id !== undefined) rest = await health.look({ ...provider, id: provider.id });
    if (rest === undefined) return undefined;
    if (shortest === undefined || rest.forMs < shortest.forMs) shortest = rest;
  }
  return shortest;
}

/** A message that ended its workers again and again is not given to another one. */
async function giveUp(delivery: Delivery): Promise<Settled> {
  const detail = `${maxDroppedClaims} claims in a row were dropped`;
  const changes = delivery.claim.message.recipients.map(({ id }): RecipientChange => ({
    recipient: id,
    status: "failed",
    failure: "crashed",
    attemptSpent: false,
    fault: { code: "crashed", detail },
  }));
  return await settle(delivery, { then: "conclude", changes });
}

async function settleBell(lease: Lease, settled: Settled, { bells }: Crew): Promise<void> {
  if (settled.status === "queued") await bells.again(lease, settled.delayMs);
  else await bells.done(lease);
}

/** What ends a delivery early: a lost claim is another worker's now, everything else goes back as it was. */
async function giveBack(lease: Lease, delivery: Delivery, error: unknown): Promise<void> {
  const { crew, claim } = delivery;
  const why = error instanceof Interrupted ? error.why : undefined;
  if (why === undefined) crew.log.error("delivery failed", { ...namesOf(claim.message), error });
  if (why === "claim_lost" || crew.stopped.aborted) return await crew.bells.done(lease);
  try {
    const delay = why === undefined ? { delayMs: delayAfterFault(delivery) } : {};
    const settled = await settle(delivery, { then: "release", ...delay });
    await crew.bells.again(lease, settled.delayMs);
  } catch (failure) {
    // The lease ends by itself and the sweeper rings.
    crew.log.warn("cannot hand a message back", { ...namesOf(claim.message), error: failure });
  }
}

/**
 * A fault of our own may have come after a request had left, whose call stays open and is `unknown` to the next claim
 * (ruling 3.12): what would be sent again with each claim waits as long as after failed attempts.
 */
function delayAfterFault({ claim, crew }: Delivery): number {
  const { retryDelaysMs } = crew.terms;
  return retryDelaysMs[Math.min(claim.claims, retryDelaysMs.length) - 1] ?? afterFaultMs;
}

/** By these a message's lines are found. */
function namesOf({ id, correlationId }: Message) {
  return { messageId: id, correlationId };
}

function report({ claim, claimedAt, crew }: Delivery, settled: Settled): void {
  const { status, failureCode } = settled;
  const durationMs = performance.now() - claimedAt;
  const { processed, processingDuration, deadLetters } = crew.metrics.worker;
  processingDuration.observe(durationMs / 1000);
  const fields = {
    ...namesOf(claim.message),
    group: claim.message.group,
    durationMs: Math.round(durationMs),
  };
  switch (status) {
    case "delivered":
      processed.add({ status: "sent" });
      return crew.log.info("message delivered", fields);
    case "failed":
    case "storage_error": {
      const reason = failureCode ?? "storage_error";
      processed.add({ status: "dlq" });
      if (reason !== "cancelled" && reason !== "restored") deadLetters.add({ reason });
      return crew.log.warn("message is a dead letter", { ...fields, reason });
    }
    case "queued":
      processed.add({ status: "failed" });
      return crew.log.info("message put off", { ...fields, delayMs: Math.round(settled.delayMs) });
    default:
      return crew.log.info("message settled", { ...fields, status });
  }
}
