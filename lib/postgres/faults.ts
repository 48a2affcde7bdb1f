/** A transaction whose COMMIT was sent and never answered: it may or may not have happened (ruling 3.3). */
export class CommitInDoubt extends Error {
  override readonly name = "CommitInDoubt";
}

/** PostgreSQL has not answered in time; the statement may still be carried out. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";
  constructor(limitMs: number) {
    super(`PostgreSQL timeout: no answer in ${limitMs} ms`);
  }
}

/** The SQLSTATE of a server's error, if it is one. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith("E") ? code : undefined;
}

/**
 * What the driver or the server said, for logs and terminals. A text in which a connection string may stand, and with
 * it a password, is not passed on.
 */
export function faultText(error: unknown): string {
  if (!(error instanceof Error)) return faultText(new Error(String(error)));
  // Several addresses that were all tried have a code, and nothing to say together.
  const text = error.message || String((error as { readonly code?: unknown }).code ?? error.name);
  return text.includes("://")
    ? `${error.name}, whose text is not shown: it may hold a connection string`
    : text;
}

/**
 * Whether the database could not be asked, as opposed to its having said no: no connection, a connection lost,
 * a server starting, stopping or out of resources (classes 08, 53, 57P, 58).
 */
export function isOutage(error: unknown): boolean {
  const state = sqlState(error);
  if (state === undefined) return true;
  return /^(08|53|57P|58|XX)/.test(state);
}

/** Whether a statement took longer than it may, or waited longer for a lock: no item of a batch is to blame for that. */
export function isTimeout(error: unknown): boolean {
  const state = sqlState(error);
  return state === "57014" || state === "55P03";
}

/** Whether a statement or transaction may be tried again as it is: serialization, deadlock, lock time-out. */
export function isRetryable(error: unknown): boolean {
  const state = sqlState(error);
  return state === "40001" || state === "40P01" || state === "55P03";
}

/** Whether the server's answer was lost on the way, so that nobody knows what became of the statement. */
export function isAnswerLost(error: unknown): boolean {
  const state = sqlState(error);
  return state === undefined || state.startsWith("08") || state.startsWith("57P");
}

/** The name of the constraint that a statement violated, if that is why it failed. */
export function violatedConstraint(error: unknown): string | undefined {
  if (!sqlState(error)?.startsWith("23")) return undefined;
  const name = (error as { constraint?: unknown }).constraint;
  return typeof name === "string" ? name : undefined;
}
