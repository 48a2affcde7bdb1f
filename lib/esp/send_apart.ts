import type { Recipient } from "../messages/message.ts";
import type { CallReport, RecipientOutcome } from "./outcome.ts";

/** What one request for some of a parcel's recipients has come to. */
export interface PartReport extends CallReport {
  /** Nobody was sent to, for the sake of one address or several that the service did not name. */
  readonly isRecipientFault: boolean;
}

/** So many requests at most look for the recipients whom a service does not take. */
const requestLimit = 40;

/**
 * Sends to all at once, and where the service refuses all for the sake of some addresses without naming them, to halves
 * and their halves, so that the others get their mail. Recipients who are not told apart in 40 requests wait.
 */
export async function sendApart(
  recipients: readonly Recipient[],
  send: (recipients: readonly Recipient[]) => Promise<PartReport>,
): Promise<CallReport> {
  const { isRecipientFault, ...first } = await send(recipients);
  if (!isRecipientFault || recipients.length < 2) return first;
  const outcomes = new Map(first.recipients);
  let last: CallReport = first;
  const open = halves(recipients);
  for (let count = 1; open.length > 0; count++) {
    const some = open.shift() ?? [];
    if (count >= requestLimit) {
      for (const { id } of some) outcomes.set(id, notToldApart);
      continue;
    }
    const { isRecipientFault, ...report } = await send(some);
    if (isRecipientFault && some.length > 1) {
      open.push(...halves(some));
      continue;
    }
    for (const [id, outcome] of report.recipients) outcomes.set(id, outcome);
    const obstacle = isRecipientFault ? undefined : obstacleIn(report);
    if (obstacle !== undefined) {
      for (const { id } of open.splice(0).flat()) outcomes.set(id, obstacle);
    }
    if (report.providerMessageId !== undefined || last.providerMessageId === undefined) last = report;
  }
  return { ...last, recipients: outcomes };
}

/** What keeps the service from taking anything now: nobody else is sent to, so that this call comes to its end. */
function obstacleIn({ recipients }: CallReport): RecipientOutcome | undefined {
  const [outcome] = recipients.values();
  if (outcome?.kind === "wait") return outcome;
  if (outcome?.kind !== "retry" && outcome?.kind !== "unknown") return undefined;
  const { fault } = outcome;
  return fault.blame === "provider" ? { kind: "retry", fault } : undefined;
}

const notToldApart: RecipientOutcome = {
  kind: "retry",
  fault: {
    blame: "message",
    code: "recipients_not_told_apart",
    detail: "The service refuses some addresses without naming them, and one call is not enough to find them",
  },
};

function halves(recipients: readonly Recipient[]): (readonly Recipient[])[] {
  const middle = Math.ceil(recipients.length / 2);
  return [recipients.slice(0, middle), recipients.slice(middle)];
}
