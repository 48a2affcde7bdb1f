import { ensureProgram, type FindOptions, type FoundProgram } from "./debian_program.ts";

const redis = {
  name: "redis-server",
  packages: ["redis-server", "redis-tools"],
  try: ["--version"],
  howToInstall: "install redis-server 7.0 or later so that it is on PATH " +
    "(Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)",
} as const;

/** Finds or fetches `redis-server`; `SMTP_PROXY_TEST_REDIS=download` asks for the second way. */
export async function ensureRedis(options: FindOptions = {}): Promise<FoundProgram> {
  const isTold = Deno.env.get("SMTP_PROXY_TEST_REDIS") === "download";
  return await ensureProgram(redis, { ...isTold && { from: "download" }, ...options });
}
