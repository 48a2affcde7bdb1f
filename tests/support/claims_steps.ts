import type { RecipientId } from "../../lib/ids.ts";
import type { RecipientChange } from "../../lib/messages/outcomes_table.ts";

/** What the service makes of one recipient. */
export type Outcome = "accepted" | "retry" | "refused";

/** All of them. */
export const outcomes: readonly Outcome[] = ["accepted", "retry", "refused"];

/** What can be done to the world. */
export const ops = [
  "accept",
  "give up",
  "cancel",
  "requeue",
  "retain",
  "make due",
  "sweep",
  "expire",
  "claim",
  "begin",
  "settle",
  "drop",
  "renew",
  "kill",
  "come back",
] as const;

/** What a worker does, or what is done to it. */
export type WorkerOp = "claim" | "begin" | "settle" | "drop" | "renew" | "kill" | "come back";

/** One step, with two numbers by which it chooses whom and what. */
export interface Step {
  readonly op: typeof ops[number];
  readonly a: number;
  readonly b: number;
}

/** Put off, for so long. */
export function pending(recipient: RecipientId, attemptSpent: boolean, delayMs: number): RecipientChange {
  const fault = { code: "later", detail: "later" };
  return { recipient, status: "pending", kind: "retry", delayMs, attemptSpent, fault };
}

/** What a worker writes of an outcome. */
export function changeOf(recipient: RecipientId, outcome: Outcome): RecipientChange {
  if (outcome === "accepted") return { recipient, status: "accepted", kind: "accepted", attemptSpent: true };
  if (outcome === "retry") return pending(recipient, true, 1000);
  const fault = { code: "no", detail: "no" };
  return { recipient, status: "refused", failure: "refused", kind: "refused", attemptSpent: true, fault };
}
