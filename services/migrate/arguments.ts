/** What `migrate` is asked to do. */
export type MigrateCommand =
  | { readonly verb: "up"; readonly to?: number }
  | { readonly verb: "down"; readonly to?: number }
  | { readonly verb: "status" }
  | { readonly verb: "help" };

/** How `migrate` is used. */
export const usage =
  `migrate up [--to VERSION]     apply what is missing, up to the newest or the given version
migrate down [--to VERSION]   take back the newest, or everything above the given version (0 is everything)
migrate status                list every migration and whether it is applied
`;

/** Reads the command line; throws a sentence when it makes no sense. */
export function parseArguments(args: readonly string[]): MigrateCommand {
  if (args.includes("--help") || args.includes("-h")) return { verb: "help" };
  const [verb = "up", ...rest] = args;
  const to = versionOf(rest);
  if (verb === "status" && to === undefined) return { verb };
  if (verb === "up" || verb === "down") return to === undefined ? { verb } : { verb, to };
  throw new Error(`Cannot migrate: the command is not understood: current value is "${args.join(" ")}"`);
}

function versionOf(rest: readonly string[]): number | undefined {
  if (rest.length === 0) return undefined;
  const text = /^--to(?:=|\s)(\d{1,6})$/.exec(rest.join(" "))?.[1];
  if (text === undefined) {
    throw new Error(`Cannot migrate: expected --to VERSION: current value is "${rest.join(" ")}"`);
  }
  return Number(text);
}
