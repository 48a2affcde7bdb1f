import { writeSync } from "node:fs";

/** A flag with a value, as `parseArgs` takes it, and what `--help` says of it. */
export interface Flag {
  readonly type: "string";
  readonly default?: string;
  readonly help: string;
}

/** What a command of the project can be asked for. */
export interface CommandLine {
  /** How it is called, e.g. `deno task bench [CASE…]`. */
  readonly call: string;
  /** What may be named; everything where nothing is. */
  readonly names: readonly string[];
  readonly flags: Readonly<Record<string, Flag>>;
}

/** The text of `--help`: the names and each flag with its value where it is left out. */
export function usageOf({ call, names, flags }: CommandLine): string {
  const width = Math.max(...Object.keys(flags).map((name) => name.length));
  const lines = Object.entries(flags).map(([name, flag]) =>
    `  --${name.padEnd(width)}  ${flag.help}${flag.default === undefined ? "" : ` (${flag.default})`}\n`
  );
  return `${call}\n\nAll of these, unless some are named:\n  ${names.join("\n  ")}\n\n${lines.join("")}`;
}

/** Runs a command: `--help` prints the usage alone; what `parse` throws is told in a sentence, with status 2. */
export async function runCommandLine<Options>(
  line: CommandLine,
  parse: (args: readonly string[]) => Options,
  run: (options: Options) => Promise<void>,
): Promise<void> {
  if (Deno.args.includes("--help")) return void writeSync(1, usageOf(line));
  let options: Options;
  try {
    options = parse(Deno.args);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    writeSync(2, `${error.message}\n`);
    Deno.exitCode = 2;
    return;
  }
  await run(options);
}

/** The number that a flag was given; throws a TypeError that names the flag unless it is whole and at least so large. */
export function wholeNumber(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least) return value;
  throw new TypeError(`Cannot use --${flag}: ${text} is not a whole number of at least ${least}`);
}
