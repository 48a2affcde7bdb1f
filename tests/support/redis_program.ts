/** How to run a Redis server: the program and what it needs in its environment. */
export interface RedisProgram {
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Where to look; `download` skips what the machine has, to try the other way. */
export interface FindOptions {
  readonly from?: "anywhere" | "download";
  /** Where what was downloaded is kept. */
  readonly cache?: string;
}

/** Names another server than the machine's: a program such as `/opt/valkey/bin/valkey-server`, or `download`. */
export const redisVariable = "SMTP_PROXY_TEST_REDIS";

/**
 * Finds `redis-server` on PATH, else obtains Debian's or Ubuntu's packages into a folder of this user's cache, without
 * root and without installing them. Throws with what to do when neither works. `SMTP_PROXY_TEST_REDIS=download`
 * asks for the second way; any other value is the program to run, and no other is.
 */
export async function ensureRedis(options: FindOptions = {}): Promise<RedisProgram> {
  const named = Deno.env.get(redisVariable) ?? "";
  if (options.from === undefined && named !== "" && named !== "download") return await programAt(named);
  const wanted = options.from ?? (named === "download" ? "download" : "anywhere");
  if (wanted === "anywhere") {
    const installed: RedisProgram = { path: "redis-server", env: {} };
    if (await runs(installed)) return installed;
  }
  const cache = options.cache ?? cacheFolder();
  const kept = await unpacked(`${cache}/root`);
  if (kept !== undefined && await runs(kept)) return kept;
  try {
    return await download(cache);
  } catch (error) {
    throw new Error(`Cannot find Redis, which the tests need: ${howToInstall}`, { cause: error });
  }
}

async function programAt(path: string): Promise<RedisProgram> {
  const program: RedisProgram = { path, env: {} };
  if (await runs(program)) return program;
  throw new Error(`Cannot run Redis: current value of ${redisVariable} is "${path}"`);
}

const howToInstall = "install redis-server 7.0 or later so that it is on PATH " +
  "(Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)";

function cacheFolder(): string {
  const home = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? "/tmp"}/.cache`;
  return `${home}/smtp-proxy/redis`;
}

/** Fetched and unpacked beside the cache and then moved there, so that two test runs at once do no harm. */
async function download(cache: string): Promise<RedisProgram> {
  await Deno.mkdir(cache, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: cache, prefix: "fetch-" });
  try {
    await Deno.mkdir(`${folder}/lists/partial`, { recursive: true });
    await Deno.mkdir(`${folder}/archives/partial`, { recursive: true });
    const own = aptOptions(folder);
    await run("apt-get", [...own, "update"]);
    // Brings what the server needs and this machine lacks; what is installed already is used from there.
    const install = ["install", "--yes", "--download-only", "--reinstall", "--no-install-recommends"];
    await run("apt-get", [...own, ...install, "redis-server", "redis-tools"]);
    for await (const entry of Deno.readDir(`${folder}/archives`)) {
      if (entry.name.endsWith(".deb")) {
        await run("dpkg", ["-x", `${folder}/archives/${entry.name}`, `${folder}/root`]);
      }
    }
    const fresh = await unpacked(`${folder}/root`);
    if (fresh === undefined || !await runs(fresh)) {
      throw new Error("Cannot run the redis-server that was unpacked");
    }
    await Deno.remove(`${cache}/root`, { recursive: true }).catch(ignoreMissing);
    await Deno.rename(`${folder}/root`, `${cache}/root`).catch(ignoreThere);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  const program = await unpacked(`${cache}/root`);
  if (program === undefined) throw new Error(`Cannot find redis-server in ${cache}`);
  return program;
}

/** A state of its own for apt, so that neither root nor its locks are needed; only what is installed is read. */
function aptOptions(folder: string): string[] {
  return [
    `Dir::State=${folder}`,
    `Dir::State::lists=${folder}/lists`,
    "Dir::State::status=/var/lib/dpkg/status",
    `Dir::Cache=${folder}`,
    `Dir::Cache::archives=${folder}/archives`,
    `Dir::Log=${folder}`,
    "Debug::NoLocking=1",
    "APT::Sandbox::User=",
    "Acquire::Retries=2",
  ].flatMap((option) => ["-o", option]);
}

async function unpacked(root: string): Promise<RedisProgram | undefined> {
  const libraries: string[] = [];
  for (const folder of [`${root}/usr/lib`, `${root}/lib`]) {
    libraries.push(folder);
    for (const name of await namesIn(folder)) {
      if (name.endsWith("-linux-gnu") || name.includes("-linux-gnu")) libraries.push(`${folder}/${name}`);
    }
  }
  if (!(await namesIn(`${root}/usr/bin`)).includes("redis-server")) return undefined;
  return { path: `${root}/usr/bin/redis-server`, env: { LD_LIBRARY_PATH: libraries.join(":") } };
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).map((entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

async function runs(program: RedisProgram): Promise<boolean> {
  try {
    return (await command(program.path, ["--version"], program.env)).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const output = await command(program, args, {});
  if (output.success) return;
  throw new Error(`Cannot run ${program}: ${new TextDecoder().decode(output.stderr).trim().slice(-500)}`);
}

function command(program: string, args: readonly string[], env: Readonly<Record<string, string>>) {
  return new Deno.Command(program, { args: [...args], env: { ...env }, stdout: "piped", stderr: "piped" })
    .output();
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

/** Another run was quicker; what it put there serves as well. */
function ignoreThere(error: unknown): void {
  if (!(error instanceof Error && /exist|not empty/i.test(error.message))) throw error;
}
