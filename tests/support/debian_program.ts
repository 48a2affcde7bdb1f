/** How to run a program: where it is and what it needs in its environment. */
export interface FoundProgram {
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
}

/** A program that tests need and Debian has. */
export interface WantedProgram {
  readonly name: string;
  /** Those that are unpacked; what they depend on and this machine lacks comes with them. */
  readonly packages: readonly string[];
  /** With these words it ends with 0. */
  readonly try: readonly string[];
  /** What to do where it cannot be had. */
  readonly howToInstall: string;
}

/** Where to look; `download` skips what the machine has, to try the other way. */
export interface FindOptions {
  readonly from?: "anywhere" | "download";
  /** Where what was downloaded is kept. */
  readonly cache?: string;
}

/**
 * Finds a program on PATH, else obtains Debian's or Ubuntu's packages into a folder of this user's cache, without root
 * and without installing them. Throws with what to do when neither works.
 */
export async function ensureProgram(wanted: WantedProgram, options: FindOptions = {}): Promise<FoundProgram> {
  if (options.from !== "download") {
    const installed: FoundProgram = { path: wanted.name, env: {} };
    if (await runs(wanted, installed)) return installed;
  }
  const cache = options.cache ?? cacheFolder(wanted.name);
  const kept = await unpacked(wanted, `${cache}/root`);
  if (kept !== undefined && await runs(wanted, kept)) return kept;
  try {
    return await download(wanted, cache);
  } catch (error) {
    throw new Error(`Cannot find ${wanted.name}, which the tests need: ${wanted.howToInstall}`, {
      cause: error,
    });
  }
}

function cacheFolder(name: string): string {
  const home = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? "/tmp"}/.cache`;
  return `${home}/smtp-proxy/${name}`;
}

/** Fetched and unpacked beside the cache and then moved there, so that two test runs at once do no harm. */
async function download(wanted: WantedProgram, cache: string): Promise<FoundProgram> {
  await Deno.mkdir(cache, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: cache, prefix: "fetch-" });
  try {
    await Deno.mkdir(`${folder}/lists/partial`, { recursive: true });
    await Deno.mkdir(`${folder}/archives/partial`, { recursive: true });
    const own = aptOptions(folder);
    await run("apt-get", [...own, "update"]);
    // Brings what the program needs and this machine lacks; what is installed already is used from there.
    const install = ["install", "--yes", "--download-only", "--reinstall", "--no-install-recommends"];
    await run("apt-get", [...own, ...install, ...wanted.packages]);
    for await (const entry of Deno.readDir(`${folder}/archives`)) {
      if (entry.name.endsWith(".deb")) {
        await run("dpkg", ["-x", `${folder}/archives/${entry.name}`, `${folder}/root`]);
      }
    }
    const fresh = await unpacked(wanted, `${folder}/root`);
    if (fresh === undefined || !await runs(wanted, fresh)) {
      throw new Error(`Cannot run the ${wanted.name} that was unpacked`);
    }
    await Deno.remove(`${cache}/root`, { recursive: true }).catch(ignoreMissing);
    await Deno.rename(`${folder}/root`, `${cache}/root`).catch(ignoreThere);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  const program = await unpacked(wanted, `${cache}/root`);
  if (program === undefined) throw new Error(`Cannot find ${wanted.name} in ${cache}`);
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

async function unpacked({ name }: WantedProgram, root: string): Promise<FoundProgram | undefined> {
  const libraries: string[] = [];
  for (const folder of [`${root}/usr/lib`, `${root}/lib`]) {
    libraries.push(folder);
    for (const entry of await namesIn(folder)) {
      if (entry.includes("-linux-gnu")) libraries.push(`${folder}/${entry}`, `${folder}/${entry}/systemd`);
    }
  }
  if (!(await namesIn(`${root}/usr/bin`)).includes(name)) return undefined;
  return { path: `${root}/usr/bin/${name}`, env: { LD_LIBRARY_PATH: libraries.join(":") } };
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).map((entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Whether the program can be run here. */
export async function runs(wanted: WantedProgram, program: FoundProgram): Promise<boolean> {
  try {
    return (await command(program.path, wanted.try, program.env)).success;
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
