/** What `apply` is asked to do. */
export interface ApplyCommand {
  readonly file: string;
  /** Say what would change, and change nothing. */
  readonly isDryRun: boolean;
  /** Remove what the file's groups have and the file does not name. */
  readonly mayPrune: boolean;
}

/** How `apply` is used. */
export const usage =
  `apply FILE             make groups, SMTP accounts, providers and routing rules what the file says
apply FILE --dry-run   say what would change, and change nothing
apply FILE --prune     also remove accounts, providers and rules of the file's groups that their lists do not name

The file is YAML or JSON. Exit status 0 when all is as the file says, 1 when something stands against it, 2 when the
file is not understood: then nothing was done.
`;

/** Reads the command line; undefined when help is asked for, throws a sentence when it makes no sense. */
export function parseArguments(words: readonly string[]): ApplyCommand | undefined {
  if (words.length === 0 || words.includes("--help") || words.includes("-h")) return undefined;
  const files = words.filter((word) => !word.startsWith("--"));
  const flags = words.filter((word) => word.startsWith("--"));
  const unknown = flags.find((flag) => flag !== "--dry-run" && flag !== "--prune");
  const [file] = files;
  if (unknown !== undefined || file === undefined || files.length > 1) {
    throw new Error(
      `Cannot apply: expected FILE, --dry-run and --prune: current value is "${words.join(" ")}"`,
    );
  }
  return { file, isDryRun: flags.includes("--dry-run"), mayPrune: flags.includes("--prune") };
}
