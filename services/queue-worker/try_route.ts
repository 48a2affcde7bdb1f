import type { RecipientOutcome } from "../../lib/esp/outcome.ts";
import type { RecipientId } from "../../lib/ids.ts";
import type { Recipient } from "../../lib/messages/message.ts";
import type { RecipientChange, Settled } from "../../lib/messages/outcomes_table.ts";
import { asciiAddress } from "../../lib/mime/address.ts";
import type { Body } from "../../lib/store/body.ts";
import { type Callable, callProvider, type RouteDecision } from "./call_provider.ts";
import { changeFor, type Delivery, settle, type Verdict } from "./delivery.ts";
import { espOf, type OpenProvider } from "./open_providers.ts";
import { paused } from "./provider_health.ts";
import type { DeliveryLeg } from "./plan_legs.ts";

/**
 * Tries the providers of each leg, best first: each gets the recipients its predecessor failed for by its own fault,
 * in parcels it can take. The end of every call is written before the next begins, the last one with the conclusion.
 */
export async function tryRoute(
  delivery: Delivery,
  body: Body,
  legs: readonly DeliveryLeg[],
): Promise<Settled> {
  const verdicts = new Verdicts();
  const unserved: Recipient[] = [];
  for (const [at, { rule, recipients, route }] of legs.entries()) {
    const isFinal = at === legs.length - 1;
    let open = recipients;
    if (route.length === 0) verdicts.add(open, { obstacle: "no_provider" });
    for (const [index, provider] of route.entries()) {
      const decision = rule && { rule: rule.id, position: index + 1 };
      const isLast = index === route.length - 1;
      const turn = { open, body, isLast, isFinal, verdicts, unserved, decision };
      const result = await tryProvider(delivery, provider, turn);
      if (result.settled !== undefined) return result.settled;
      open = result.open;
    }
    unserved.push(...open);
  }
  return await settle(delivery, { then: "conclude", changes: verdicts.changes(delivery, unserved) });
}

/** One provider's turn within a leg. */
interface Turn {
  readonly open: readonly Recipient[];
  readonly body: Body;
  /** Nobody of the leg comes after it. */
  readonly isLast: boolean;
  /** No leg comes after this one. */
  readonly isFinal: boolean;
  readonly verdicts: Verdicts;
  /** Of the legs before, not judged yet. */
  readonly unserved: readonly Recipient[];
  readonly decision: RouteDecision | undefined;
}

/** One provider's turn: answers who is left for the next, or what the message has become when nobody is. */
async function tryProvider(
  delivery: Delivery,
  provider: OpenProvider,
  { open, body, isLast, isFinal, verdicts, unserved, decision }: Turn,
): Promise<{ readonly open: readonly Recipient[]; readonly settled?: Settled }> {
  const { left, rest: fit } = fitRecipients(provider, open, verdicts);
  let rest = fit;
  while (rest.length > 0) {
    const callable = await whetherToCall(delivery, provider, body);
    if (!("esp" in callable)) {
      verdicts.add(rest, callable);
      return { open: [...left, ...rest] };
    }
    const size = Math.max(1, callable.esp.limits.recipients);
    const parcel = rest.slice(0, size);
    const after = rest.slice(size);
    const call = decision === undefined ? callable : { ...callable, decision };
    const result = await callProvider(delivery, call, parcel, body, async ({ end, report }) => {
      const changes: RecipientChange[] = [];
      for (const recipient of parcel) {
        const outcome = report.recipients.get(recipient.id);
        if (outcome === undefined) continue;
        const verdict = { outcome, unknown: provider.unknown };
        if (mayFallBack(outcome)) {
          verdicts.add([recipient], verdict);
          left.push(recipient);
          changes.push(...isLast ? [] : [heldOver(recipient, outcome)]);
        } else changes.push(changeFor(delivery, recipient, verdict));
      }
      const blanket = blanketOf(parcel, report.recipients, provider);
      if (blanket !== undefined) verdicts.add(after, blanket);
      const isOver = after.length === 0 || blanket !== undefined;
      const remaining = isOver ? [...left, ...after] : left;
      const isLegEnd = isOver && (isLast || remaining.length === 0);
      const isEnd = isLegEnd && isFinal;
      if (isLegEnd) changes.push(...verdicts.changes(delivery, remaining));
      if (isEnd) changes.push(...verdicts.changes(delivery, unserved));
      const settled = await settle(delivery, { then: isEnd ? "conclude" : "go on", calls: [end], changes });
      return { isOver, remaining: isLegEnd ? [] : remaining, ...(isEnd && { settled }) };
    });
    if (result.settled !== undefined) return { open: [], settled: result.settled };
    if (result.isOver) return { open: result.remaining };
    rest = after;
  }
  return { open: left };
}

/** Whom this provider can be asked to serve, as it can write them; the others are left for the next. */
function fitRecipients(provider: OpenProvider, open: readonly Recipient[], verdicts: Verdicts) {
  const left: Recipient[] = [];
  const esp = espOf(provider);
  if (esp === undefined || esp.smtpUtf8) return { left, rest: open };
  const rest = open.flatMap((recipient) => {
    const address = asciiAddress(recipient.address);
    if (address !== undefined) return [{ ...recipient, address }];
    const detail = `${provider.type} cannot take ${recipient.address}: it needs SMTPUTF8`;
    const fault = { blame: "message", code: "smtputf8_unsupported", detail } as const;
    verdicts.add([recipient], { outcome: { kind: "refused", fault }, unknown: provider.unknown });
    left.push(recipient);
    return [];
  });
  return { left, rest };
}

/** Another provider may be tried: this one is to blame, and has certainly not sent it. */
function mayFallBack(outcome: RecipientOutcome): boolean {
  return (outcome.kind === "retry" || outcome.kind === "wait") && outcome.fault.blame === "provider";
}

/** Whoever fails for the last provider is judged with the conclusion; until then the row only says why. */
function heldOver({ id }: Recipient, outcome: RecipientOutcome): RecipientChange {
  return {
    recipient: id,
    status: "pending",
    delayMs: 0,
    attemptSpent: false,
    kind: outcome.kind,
    ...(outcome.kind !== "accepted" && { fault: outcome.fault }),
  };
}

/** A provider that makes everybody wait would make the next parcel wait too: nobody asks it again. */
function blanketOf(
  parcel: readonly Recipient[],
  outcomes: ReadonlyMap<RecipientId, RecipientOutcome>,
  provider: OpenProvider,
): Verdict | undefined {
  const all = parcel.map(({ id }) => outcomes.get(id));
  const [first] = all;
  if (first === undefined || !all.every((outcome) => outcome?.kind === "wait")) return undefined;
  return { outcome: first, unknown: provider.unknown };
}

/** The opened provider, or why it is not to be called now. */
async function whetherToCall(
  { crew, claim }: Delivery,
  provider: OpenProvider,
  body: Body,
): Promise<Callable | Verdict> {
  const { opened, id, unknown } = provider;
  if (provider.paused === true) return paused;
  if ("fault" in opened) {
    if (id !== undefined) await crew.health.noteUnusable({ ...provider, id }, opened.fault);
    return { outcome: { kind: "wait", cause: "configuration", fault: opened.fault }, unknown };
  }
  const { bytes } = opened.esp.limits;
  if (body.size > bytes) {
    const detail = `The message has ${body.size} bytes and ${provider.type} takes ${bytes} at most`;
    const fault = { blame: "message", code: "message_too_large", detail } as const;
    return { outcome: { kind: "refused", fault }, unknown };
  }
  const rest = id === undefined ? undefined : await crew.health.ask({ ...provider, id });
  if (rest !== undefined) {
    crew.log.debug("provider rests", {
      messageId: claim.message.id,
      reason: rest.obstacle,
      delayMs: rest.forMs,
    });
    return rest;
  }
  return { provider, esp: opened.esp, places: opened.places };
}

/** The verdict on each recipient that no provider has served yet; what spends an attempt outweighs what does not. */
class Verdicts {
  readonly #byRecipient = new Map<RecipientId, Verdict>();

  add(recipients: readonly Recipient[], verdict: Verdict): void {
    for (const { id } of recipients) {
      const before = this.#byRecipient.get(id);
      const isSpent = before !== undefined && "outcome" in before && before.outcome.kind === "retry";
      if (!isSpent) this.#byRecipient.set(id, verdict);
    }
  }

  changes(delivery: Delivery, recipients: readonly Recipient[]): readonly RecipientChange[] {
    return recipients.flatMap((recipient) => {
      const verdict = this.#byRecipient.get(recipient.id);
      return verdict === undefined ? [] : [changeFor(delivery, recipient, verdict)];
    });
  }
}
