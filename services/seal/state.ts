import type { SealedCount } from "../../lib/providers/sealed_secrets_table.ts";

/** What is said of the keys, and whether any secret needs another one than the first. */
export interface SealedState {
  readonly lines: readonly string[];
  readonly needsOthers: boolean;
}

/** Tells by key id how many secrets need it, and what is given and needed no more; never a value. */
export function describeState(
  counts: readonly SealedCount[],
  keys: readonly { readonly id: string }[],
): SealedState {
  const first = keys[0]?.id;
  const given = new Set(keys.map(({ id }) => id));
  const needed = new Map(counts.map(({ keyId, count }) => [keyId, count]));
  const lines = keys.map(({ id }) => {
    const count = needed.get(id) ?? 0;
    if (id === first) return `key ${id}: seals, ${count} sealed with it`;
    return count === 0 ? `key ${id}: needed no more` : `key ${id}: still needed, ${count} sealed with it`;
  });
  for (const [id, count] of needed) {
    if (!given.has(id)) lines.push(`key ${id}: not among secrets.keys, ${count} cannot be opened`);
  }
  if (lines.length === 0) lines.push("nothing is sealed, and secrets.keys names no key");
  return { lines, needsOthers: [...needed.keys()].some((id) => id !== first) };
}
