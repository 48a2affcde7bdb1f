/** What `admin` is asked to do. */
export type AdminCommand =
  | { readonly verb: "reset-password"; readonly email: string | undefined }
  | { readonly verb: "help" };

/** How `admin` is used. */
export const usage = `admin reset-password [--email ADDRESS]

Gives a user, by default the configured administrator, a new password, prints it once and ends the user's sessions.
`;

/** Reads the command line; throws a sentence when it makes no sense. */
export function parseArguments(args: readonly string[]): AdminCommand {
  if (args.length === 0 || args.includes("--help") || args.includes("-h")) return { verb: "help" };
  const [verb, ...rest] = args;
  const email = /^--email(?:=| )(\S+)$/.exec(rest.join(" "))?.[1];
  if (verb === "reset-password" && (rest.length === 0 || email !== undefined)) return { verb, email };
  throw new Error(`Cannot administer: the command is not understood: current value is "${args.join(" ")}"`);
}
