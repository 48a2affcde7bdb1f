/** The programs that can be built, by the names of their tasks; the test client's task is `client`. */
export const programs = [
  "smtp-server",
  "queue-worker",
  "api-server",
  "migrate",
  "seed",
  "admin",
  "seal",
  "apply",
  "spool",
  "test-client",
] as const;
/** The name of a program. */
export type ProgramName = (typeof programs)[number];

/** The machines that programs can be built for. */
export const targets = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
] as const;
/** One of these machines. */
export type Target = (typeof targets)[number];

/** What a built program may read, and which of it also write (ruling 1.26). */
export interface BuiltPaths {
  readonly read: readonly string[];
  readonly write: readonly string[];
}

const configured = ["/etc/smtp-proxy", "/run/secrets", "/var/run/secrets", "/run/credentials"];
const bodies = "/var/lib/smtp-proxy";
const kept = [bodies, "/var/log/smtp-proxy"];

/** One program to build. */
export interface Build {
  readonly program: ProgramName;
  /** The machine that builds when absent. */
  readonly target?: Target;
  /** Paths besides the usual ones. */
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** Addresses that programs with places of their own are confined to; none, or absent, is every one. */
  readonly net?: readonly string[];
  /** Folders that are not carried. */
  readonly leftOut?: readonly string[];
}

/** The paths of a program: those of the layout, as far as its task reads and writes at all, and the ones asked for. */
export function pathsOf(task: string, { read, write }: Pick<Build, "read" | "write">): BuiltPaths {
  const words = task.split(" ");
  const writes = words.some((word) => word.startsWith("--allow-write="));
  const writable = writes ? [...kept, ...write] : [];
  const readsBodies = words.some((word) => word.startsWith("--allow-read=") && word.includes("/messages"));
  const readable = writes ? writable : readsBodies ? [bodies, ...write] : write;
  return { read: [...configured, ...readable, ...read], write: writable };
}

/** The name of a program's task in deno.json. */
export function taskOf(program: ProgramName): string {
  return program === "test-client" ? "client" : program;
}

/** Where a built program is put, from the project's folder. */
export function outputOf({ program, target }: Pick<Build, "program" | "target">): string {
  return target === undefined ? `dist/${program}` : `dist/${target}/${program}`;
}

/**
 * What follows `deno` to build a program: its task's permissions word by word, but for paths. `variables` names a file
 * of variables that the program carries. Throws when the task is not one that runs a program.
 */
export function compileArguments(build: Build, task: string, variables: string): readonly string[] {
  const [deno, run, ...words] = task.split(" ");
  const entry = words.pop();
  if (deno !== "deno" || run !== "run" || entry === undefined || words.includes("-A")) {
    throw new Error(`Cannot compile ${build.program}: its task is "${task}"`);
  }
  const paths = pathsOf(task, build);
  return [
    "compile",
    "--frozen",
    "--no-check",
    "--exclude-unused-npm",
    `--env-file=${variables}`,
    ...words.flatMap((word) => withPaths(withAddresses(word, build), paths)),
    ...carriedFiles(words).flatMap((file) => ["--include", file]),
    ...(build.leftOut ?? []).flatMap((folder) => ["--exclude", folder]),
    ...build.target === undefined ? [] : ["--target", build.target],
    "--output",
    outputOf(build),
    entry,
  ];
}

/** The worker must reach whatever host a provider names; whom these two talk to is known to who builds (ruling 1.26). */
function withAddresses(word: string, { program, net = [] }: Build): string {
  const isConfined = net.length > 0 && (program === "smtp-server" || program === "api-server");
  return word === "--allow-net" && isConfined ? `--allow-net=${net.join()}` : word;
}

/** A task that may read anything (the test client attaches any file) goes on doing so. */
function withPaths(word: string, { read, write }: BuiltPaths): readonly string[] {
  const carried = carriedFiles([word]);
  if (word.startsWith("--allow-read=")) return [`--allow-read=${[...read, ...carried].join()}`];
  if (word.startsWith("--allow-write=")) return [`--allow-write=${write.join()}`];
  return [word];
}

/** Files of the project that a task may read are threads that it starts: a built program carries them. */
function carriedFiles(words: readonly string[]): readonly string[] {
  return words.filter((word) => word.startsWith("--allow-read=")).flatMap((word) =>
    word.slice("--allow-read=".length).split(",").filter((path) => path.endsWith(".ts"))
  );
}
