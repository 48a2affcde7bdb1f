import type { GroupEntry } from "../../lib/groups/group_entries_table.ts";
import type { Database } from "../../lib/postgres/database.ts";
import type { SealingKeys } from "../../lib/secrets/seal.ts";
import type { Ledger } from "./ledger.ts";

/** What making a group what it is to be takes. */
export interface ApplyWorld {
  /** With the role of administrators, by a login that may also act for a group. */
  readonly database: Database;
  /** With the role that may look passwords up. */
  readonly logins: Database;
  /** Undefined where no key was given. */
  readonly keys: SealingKeys | undefined;
  /** An account's sender domains must lie within its group's. */
  readonly requireGroupDomains: boolean;
  readonly defaultMonthlyLimit: number;
  /** Found in every activity of this run, as its correlation id. */
  readonly run: string;
  readonly isDryRun: boolean;
  readonly mayPrune: boolean;
}

/** One group's change under way. */
export interface Job {
  readonly world: ApplyWorld;
  readonly group: GroupEntry;
  readonly ledger: Ledger;
}
