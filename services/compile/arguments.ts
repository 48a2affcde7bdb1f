import { type ProgramName, programs, type Target, targets } from "./programs.ts";

/** What `compile` is asked to build. */
export type CompileCommand =
  | { readonly verb: "help" }
  | {
    readonly verb: "build";
    readonly programs: readonly ProgramName[];
    /** None is the machine that builds. */
    readonly targets: readonly Target[];
    /** Folders and files that programs may read besides the usual ones. */
    readonly read: readonly string[];
    /** Folders that programs may read and write besides the usual ones. */
    readonly write: readonly string[];
    /** Addresses that smtp-server and api-server may listen at and connect to; none is every one. */
    readonly net: readonly string[];
  };

/** How `compile` is used. */
export const usage = `compile [PROGRAM…]   build programs into dist/, all of them when none is named:
                     ${programs.join(", ")}
  --target TARGET    for another machine, into dist/TARGET/; repeatable:
                     ${targets.join(",\n                     ")}
  --read PATH        let them read this file or folder too; repeatable
  --write FOLDER     let them read and write this folder too; repeatable
  --net HOST[:PORT]  let smtp-server and api-server listen at and connect to this address, and to no other that is
                     not named; repeatable

The runtime that programs are made of is fetched by Deno; DENORT_BIN names one that is at hand.
`;

/** Reads the command line; throws a sentence when it makes no sense. */
export function parseArguments(args: readonly string[]): CompileCommand {
  if (args.includes("--help") || args.includes("-h")) return { verb: "help" };
  const given: Record<"target" | "read" | "write" | "net", string[]> = {
    target: [],
    read: [],
    write: [],
    net: [],
  };
  const named: ProgramName[] = [];
  for (let index = 0; index < args.length; index++) {
    const [, flag, own] = /^--(target|read|write|net)(?:=(.*))?$/s.exec(args[index] ?? "") ?? [];
    if (flag === undefined) named.push(oneOf(programs, args[index] ?? "", "a program"));
    else given[flag as keyof typeof given].push(own ?? args[++index] ?? "");
  }
  for (const path of [...given.read, ...given.write]) {
    // A comma would part it in two, and another folder would be meant wherever the program is started.
    if (!path.startsWith("/") || path.includes(",")) {
      throw new Error(`Cannot compile: expected an absolute path without commas: current value is "${path}"`);
    }
  }
  for (const address of given.net) {
    if (!/^(\[[\da-f:.]+\]|[\w*.-]+)(:\d+)?$/i.test(address)) {
      throw new Error(`Cannot compile: expected HOST or HOST:PORT: current value is "${address}"`);
    }
  }
  return {
    verb: "build",
    programs: named.length === 0 ? programs : named,
    targets: given.target.map((target) => oneOf(targets, target, "a target")),
    read: given.read,
    write: given.write,
    net: given.net,
  };
}

function oneOf<Name extends string>(names: readonly Name[], value: string, what: string): Name {
  const found = names.find((name) => name === value);
  if (found !== undefined) return found;
  throw new Error(`Cannot compile: expected ${what} (${names.join(", ")}): current value is "${value}"`);
}
