/** What `spool` is asked to do. */
export type SpoolCommand = { readonly verb: "replay"; readonly isDryRun: boolean } | {
  readonly verb: "help";
};

/** How `spool` is used. */
export const usage =
  `spool replay            after a restore: make dead letters of the bodies in storage.path that no row names
spool replay --dry-run  only count them

It uses the login that owns the tables (database.owner_url), with every service stopped, and runs before they start:
queue-worker removes bodies that no row names. Exit status 1 when a body could not be made a dead letter.
`;

/** Reads the command line; throws a sentence when it makes no sense. */
export function parseArguments(words: readonly string[]): SpoolCommand {
  if (words.length === 0 || words.includes("--help") || words.includes("-h")) return { verb: "help" };
  const line = words.join(" ");
  if (line === "replay") return { verb: "replay", isDryRun: false };
  if (line === "replay --dry-run") return { verb: "replay", isDryRun: true };
  throw new Error(
    `Cannot look after the spool: expected replay or replay --dry-run: current value is "${line}"`,
  );
}
