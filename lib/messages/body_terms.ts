/** For how long bodies are kept at most once their message is finished, in milliseconds; absent is for ever. */
export interface LongestTerms {
  readonly deliveredMs?: number;
  readonly failedMs?: number;
}

/** The longest terms that the settings allow: nothing of a message is kept for longer than its row (ruling 3.15). */
export function longestTerms(
  retention: { readonly delivered: number; readonly failed: number; readonly rows: number },
): LongestTerms {
  const [deliveredMs, failedMs] = [retention.delivered, retention.failed].map((ms) =>
    Math.min(ms || Infinity, retention.rows || Infinity)
  );
  return {
    ...deliveredMs !== undefined && deliveredMs < Infinity && { deliveredMs },
    ...failedMs !== undefined && failedMs < Infinity && { failedMs },
  };
}
