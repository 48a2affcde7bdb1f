import { ensureProgram, type FindOptions, type FoundProgram, runs } from "./debian_program.ts";

const redis = {
  name: "redis-server",
  packages: ["redis-server", "redis-tools"],
  try: ["--version"],
  howToInstall: "install redis-server 7.0 or later so that it is on PATH " +
    "(Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)",
} as const;

/** Names another server than the machine's: a program such as `/opt/valkey/bin/valkey-server`, or `download`. */
export const redisVariable = "SMTP_PROXY_TEST_REDIS";

/**
 * Finds or fetches `redis-server`. `SMTP_PROXY_TEST_REDIS=download` asks for the second way; any other value is the
 * program to run, and no other is.
 */
export async function ensureRedis(options: FindOptions = {}): Promise<FoundProgram> {
  const named = Deno.env.get(redisVariable) ?? "";
  if (options.from === undefined && named !== "" && named !== "download") return await programAt(named);
  return await ensureProgram(redis, { ...named === "download" && { from: "download" }, ...options });
}

async function programAt(path: string): Promise<FoundProgram> {
  const program: FoundProgram = { path, env: {} };
  if (await runs({ ...redis, name: path }, program)) return program;
  throw new Error(`Cannot run Redis: current value of ${redisVariable} is "${path}"`);
}
