import type { GroupId, ProviderId } from "../../lib/ids.ts";
import type { Database } from "../../lib/postgres/database.ts";
import {
  listSealedWith,
  readSealed,
  replaceSealed,
  type SealedOwner,
} from "../../lib/providers/sealed_secrets_table.ts";
import { providerOwner, seal, SealError, type SealingKeys, unseal } from "../../lib/secrets/seal.ts";

/** Who may see all groups' keys by name, and who may read and write a group's secrets. */
export interface ResealOptions {
  readonly administrators: Database;
  readonly groups: Database;
  readonly keys: SealingKeys;
  /** Providers looked at in one go. */
  readonly pageSize?: number;
}

/** What sealing again came to. */
export interface Resealed {
  readonly done: number;
  /** Providers whose secrets their own key does not open: they were changed by hand, or belong to another row. */
  readonly damaged: readonly ProviderId[];
}

const defaultPageSize = 200;
/** Rows that somebody changed meanwhile are looked at once more, so often. */
const maxPasses = 5;

/**
 * Seals again, with the first key, whatever another of the keys sealed; what others write meanwhile stays theirs. The
 * services go on: each change raises its group's revision, so that workers read it anew.
 */
export async function reseal({ administrators, groups, keys, pageSize = defaultPageSize }: ResealOptions) {
  const old = keys.slice(1).map(({ id }) => id);
  const damaged = new Set<ProviderId>();
  let done = 0;
  for (let pass = 1; pass <= maxPasses && old.length > 0; pass++) {
    let overtaken = 0;
    let after: ProviderId | undefined;
    for (;;) {
      const page = await listSealedWith(administrators.system, old, after, pageSize);
      for (const [group, owners] of Map.groupBy(page, ({ groupId }) => groupId)) {
        const result = await resealGroup(groups, group, owners, keys);
        done += result.done;
        overtaken += result.overtaken;
        for (const id of result.damaged) damaged.add(id);
      }
      after = page.at(-1)?.id;
      if (page.length < pageSize) break;
    }
    if (overtaken === 0) break;
  }
  return { done, damaged: [...damaged] } satisfies Resealed;
}

/** One transaction for a page of a group, which holds its rows no longer than it takes to seal them. */
async function resealGroup(
  groups: Database,
  group: GroupId,
  owners: readonly SealedOwner[],
  keys: SealingKeys,
) {
  const damaged: ProviderId[] = [];
  let [done, overtaken] = [0, 0];
  await groups.forGroup(group, async (sql) => {
    for (const [id, before] of await readSealed(sql, owners.map((owner) => owner.id))) {
      if (before.keyId === keys[0].id) continue;
      try {
        const owner = providerOwner(group, id);
        const after = await seal(await unseal(before, owner, keys), owner, keys);
        if (await replaceSealed(sql, id, before, after)) done++;
        else overtaken++;
      } catch (error) {
        if (!(error instanceof SealError)) throw error;
        // Its key was changed for one that is not given: that is told with the state afterwards.
        if (error.reason === "damaged") damaged.push(id);
      }
    }
  });
  return { done, overtaken, damaged };
}
