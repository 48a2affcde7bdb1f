import type { EspEventKind } from "../esp/event.ts";

/** What a recipient can be, from what the least is known of to what nothing can change any more (ruling 1.13). */
export const recipientRanks = [
  "pending",
  "cancelled",
  "unknown",
  "failed",
  "accepted",
  "deferred",
  "suppressed",
  "refused",
  "delivered",
  "bounced",
  "complained",
] as const;

/** A recipient's status. */
export type RecipientStatus = (typeof recipientRanks)[number];

const proofs: Readonly<Partial<Record<EspEventKind, RecipientStatus>>> = {
  accepted: "accepted",
  deferred: "deferred",
  suppressed: "suppressed",
  dropped: "refused",
  delivered: "delivered",
  bounced: "bounced",
  complained: "complained",
};

/** What an event makes of a recipient, and of which statuses; undefined where it proves nothing about delivery. */
export function effectOf(
  kind: EspEventKind,
): { readonly status: RecipientStatus; readonly replaces: readonly RecipientStatus[] } | undefined {
  const status = proofs[kind];
  if (status === undefined) return undefined;
  return { status, replaces: recipientRanks.slice(0, recipientRanks.indexOf(status)) };
}

/** A recipient's status after an event; the same in the end in whatever order events come, and how often. */
export function statusAfter(status: RecipientStatus, kind: EspEventKind): RecipientStatus {
  const effect = effectOf(kind);
  return effect?.replaces.includes(status) ? effect.status : status;
}
