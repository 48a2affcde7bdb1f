import type { CallEnd, RecipientChange, Settlement } from "./outcomes_table.ts";

/** What stands where a text was that could not be stored. */
const notStored = "The text could not be stored";

/** A settlement with nothing in it that somebody else wrote: statuses, times, and names of plain characters. */
export function withoutTexts(settlement: Settlement): Settlement {
  return {
    ...settlement,
    calls: settlement.calls.map(bareCall),
    changes: settlement.changes.map(bareChange),
    ...(settlement.error !== undefined && { error: notStored }),
  };
}

function bareCall(
  { call, status, provider, durationMs, providerMessageId, answer, error }: CallEnd,
): CallEnd {
  return {
    call,
    status,
    ...(provider !== undefined && { provider }),
    ...(durationMs !== undefined && { durationMs }),
    // What the service reports later names it.
    ...(providerMessageId !== undefined && isPlain(providerMessageId, 255) && { providerMessageId }),
    ...(answer !== undefined && { answer: { ...bareCode(answer.code), excerpt: notStored } }),
    ...(error !== undefined && { error: notStored }),
  };
}

function bareCode(code: number | undefined): { readonly code?: number } {
  return code !== undefined && Number.isInteger(code) && code >= 0 && code < 1000 ? { code } : {};
}

function bareChange(change: RecipientChange): RecipientChange {
  if (change.fault === undefined) return change;
  const code = isPlain(change.fault.code, 64) ? change.fault.code : "not_stored";
  return { ...change, fault: { code, detail: notStored } };
}

function isPlain(text: string, longest: number): boolean {
  return text.length <= longest && /^[\w.@<>+=-]+$/.test(text);
}
