/** What `migrate` is asked to do. */
export type MigrateCommand =
  | { readonly verb: "up"; readonly to?: number; readonly logins?: true }
  | { readonly verb: "down"; readonly to?: number }
  | { readonly verb: "status" }
  | { readonly verb: "hold"; readonly olderThan: Date }
  | { readonly verb: "help" };

/** How `migrate` is used. */
export const usage =
  `migrate up [--to VERSION]     apply what is missing, up to the newest or the given version
migrate down [--to VERSION]   take back the newest, or everything above the given version (0 is everything)
migrate up --logins           and give each service its login, with the passwords in SMTP_PROXY_LOGIN_SMTP_SERVER_PASSWORD,
                              …_QUEUE_WORKER_PASSWORD and …_API_SERVER_PASSWORD (or in the files that …_FILE names)
migrate status                list every migration and whether it is applied
migrate hold --older-than T   after a restore: make dead letters of the unfinished messages that were accepted before T,
                              the time of the backup (2026-01-31T23:00:00Z), so that none is sent a second time
`;

/** Reads the command line; throws a sentence when it makes no sense. */
export function parseArguments(args: readonly string[]): MigrateCommand {
  if (args.includes("--help") || args.includes("-h")) return { verb: "help" };
  const [verb = "up", ...rest] = args;
  if (verb === "hold") return { verb, olderThan: timeOf(rest) };
  if (verb === "up" && rest.join() === "--logins") return { verb, logins: true };
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

/** Only with date, time and zone: anything less would be read in the zone of whoever runs it. */
function timeOf(rest: readonly string[]): Date {
  const text = /^--older-than(?:=|\s)(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))$/.exec(rest.join(" "))?.[1];
  const time = new Date(text ?? "");
  if (!Number.isNaN(time.getTime())) return time;
  throw new Error(
    `Cannot hold: expected --older-than TIME such as 2026-01-31T23:00:00Z: current value is "${
      rest.join(" ")
    }"`,
  );
}
