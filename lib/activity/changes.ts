/** How it is told that a secret was changed. */
export const maskedChange: readonly [string, string] = ["[masked]", "[masked]"];
const secret = /password|secret|token|api_key|private_key|hash/i;

/**
 * What is different between two answers of the same kind, `{field: [before, after]}`, for the activity log; fields
 * whose names speak of secrets are masked, and `updated_at` says nothing.
 */
export function changesBetween(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): Record<string, readonly [unknown, unknown]> {
  const changes: Record<string, readonly [unknown, unknown]> = {};
  for (const field of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (field === "updated_at") continue;
    const [old, now] = [before[field] ?? null, after[field] ?? null];
    if (JSON.stringify(old) === JSON.stringify(now)) continue;
    changes[field] = secret.test(field) ? maskedChange : [old, now];
  }
  return changes;
}
