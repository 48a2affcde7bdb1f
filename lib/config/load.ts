import type { Service } from "./checks.ts";
import { checks } from "./checks.ts";
import { Secret } from "./secret.ts";
import type { Config, Setting, SettingPath } from "./settings.ts";
import { camelCase, fallbackOf, settingPaths, settings, variableOf } from "./settings.ts";
import type { ParsedFile } from "./yaml_file.ts";

/** Where settings come from; every access to the world is a parameter. */
export interface ConfigSources {
  readonly service: Service;
  /** Command line; only `--config FILE` is taken from it. */
  readonly args: readonly string[];
  readonly env: (name: string) => string | undefined;
  /** Names of the variables that are set, as far as they may be listed; unknown ones are warned of. */
  readonly envNames?: readonly string[];
  /** Undefined when there is no such file. */
  readonly readFile: (path: string) => string | undefined;
  readonly parseFile: (text: string) => ParsedFile;
}

/** The settings, and what does not keep a program from starting but should be known. */
export interface LoadedConfig {
  readonly config: Config;
  readonly warnings: readonly string[];
  /** The command line without `--config FILE`. */
  readonly rest: readonly string[];
}

/** All that is wrong with the settings; programs print the list and exit with 2. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  constructor(readonly mistakes: readonly string[]) {
    super(`Cannot start: the configuration has ${mistakes.length} mistake(s)\n- ${mistakes.join("\n- ")}`);
  }
}

interface Given {
  readonly value: unknown;
  /** Where it was given, for people. */
  readonly source: string;
}

const defaultFile = "/etc/smtp-proxy/config.yaml";

/** Reads file and environment over the defaults. Throws `ConfigError` with every mistake there is. */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const mistakes: string[] = [];
  const { file, rest } = fileOf(sources, mistakes);
  const given = new Map([...fromFile(file, sources, mistakes), ...fromEnvironment(sources, mistakes)]);
  const faulty = new Set<SettingPath>();

  function read(path: SettingPath, environment: Config["environment"]): unknown {
    const { type, secret } = settings[path] as Setting<unknown>;
    const own = given.get(path);
    const fallback = type.parse(fallbackOf(path, environment));
    if (own === undefined) return fallback;
    const result = type.safeParse(own.value);
    if (result.success) return result.data;
    faulty.add(path);
    const shown = secret ? "is not shown" : `is ${JSON.stringify(own.value).slice(0, 200)}`;
    const problems = result.error.issues.map((issue) => issue.message);
    mistakes.push(`${path} (${own.source}): ${[...new Set(problems)].join(", ")}, current value ${shown}`);
    return fallback;
  }

  const environment = read("environment", "production") as Config["environment"];
  const others = settingPaths.filter((path) => path !== "environment");
  const values = new Map(others.map((path) => [path, read(path, environment)]));
  const config = nest(new Map<SettingPath, unknown>([["environment", environment], ...values]));
  for (const { about, find } of checks) {
    const mistake = about.some((path) => faulty.has(path)) ? undefined : find(config, sources.service);
    if (mistake !== undefined) mistakes.push(mistake);
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return { config, warnings: unknownVariables(sources.envNames ?? []), rest };
}

/** The file to read: `--config FILE`, else SMTP_PROXY_CONFIG, else the usual place when it is there. */
function fileOf({ args, env }: ConfigSources, mistakes: string[]) {
  const rest: string[] = [];
  let named: string | undefined;
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] ?? "";
    if (argument.startsWith("--config=")) named = argument.slice("--config=".length);
    else if (argument === "--config") named = args[++index] ?? "";
    else rest.push(argument);
  }
  if (named === "") mistakes.push("--config: Expected a file");
  const file = named ?? env("SMTP_PROXY_CONFIG");
  return { file: file === "" ? undefined : file, rest };
}

function* fromFile(file: string | undefined, { readFile, parseFile }: ConfigSources, mistakes: string[]) {
  const path = file ?? defaultFile;
  const text = reading(path, readFile, mistakes);
  if (text === undefined) {
    if (file !== undefined) mistakes.push(`${path}: Cannot read the configuration file: it does not exist`);
    return;
  }
  const { content, problems } = parseFile(text);
  mistakes.push(...problems.map((problem) => `${path}: ${problem}`));
  yield* flatten(content, path, mistakes);
}

/** Sections and their keys as paths; what is not a setting is a mistake. */
function* flatten(content: unknown, file: string, mistakes: string[]): Generator<[SettingPath, Given]> {
  if (content === null || content === undefined) return;
  if (!isMapping(content)) {
    mistakes.push(`${file}: Expected sections with settings`);
    return;
  }
  for (const [name, value] of Object.entries(content)) {
    const isSection = settingPaths.some((path) => path.startsWith(`${name}.`));
    if (!isSection) yield* known(name, value);
    else if (isMapping(value)) {
      for (const [key, own] of Object.entries(value)) yield* known(`${name}.${key}`, own);
    } else if (value !== null) mistakes.push(`${name} (${file}): Expected settings below it`);
  }

  function* known(path: string, value: unknown): Generator<[SettingPath, Given]> {
    if (!isSettingPath(path)) mistakes.push(`${path} (${file}): There is no such setting`);
    else if (value !== null) yield [path, { value, source: file }];
  }
}

function* fromEnvironment(sources: ConfigSources, mistakes: string[]): Generator<[SettingPath, Given]> {
  for (const path of settingPaths) {
    const variable = variableOf(path);
    const value = sources.env(variable) || undefined;
    const file = settings[path].secret ? sources.env(`${variable}_FILE`) || undefined : undefined;
    if (value !== undefined && file !== undefined) {
      mistakes.push(`${path}: ${variable} and ${variable}_FILE are both set: remove one of them`);
    }
    if (value !== undefined) yield [path, { value, source: variable }];
    else if (file !== undefined) {
      const content = reading(file, sources.readFile, mistakes);
      if (content === undefined) {
        mistakes.push(`${path} (${variable}_FILE): Cannot read "${file}": it does not exist`);
      } else yield [path, { value: content.replace(/\r?\n$/, ""), source: `${variable}_FILE` }];
    }
  }
}

function reading(path: string, readFile: ConfigSources["readFile"], mistakes: string[]): string | undefined {
  try {
    return readFile(path);
  } catch (error) {
    mistakes.push(`${path}: Cannot read it: ${error instanceof Error ? error.message : error}`);
    return "";
  }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSettingPath(path: string): path is SettingPath {
  return Object.hasOwn(settings, path);
}

function nest(values: ReadonlyMap<SettingPath, unknown>): Config {
  const nested: Record<string, unknown> = {};
  for (const [path, value] of values) {
    const [first = "", second] = path.split(".").map(camelCase);
    if (Array.isArray(value)) Object.freeze(value);
    if (second === undefined) nested[first] = value;
    else nested[first] = { ...(nested[first] as object | undefined), [second]: value };
  }
  for (const section of Object.values(nested)) {
    if (typeof section === "object" && !(section instanceof Secret)) Object.freeze(section);
  }
  return Object.freeze(nested) as unknown as Config;
}

/** Variables that look like ours but are no setting: most likely a slip of the pen. */
function unknownVariables(names: readonly string[]): readonly string[] {
  const known = new Set(settingPaths.flatMap((path) => {
    const variable = variableOf(path);
    return settings[path].secret ? [variable, `${variable}_FILE`] : [variable];
  }));
  return names
    .filter((name) => name.startsWith("SMTP_PROXY_") && !known.has(name))
    .filter((name) => !/^SMTP_PROXY_(DEV|TEST|BUILD|LOGIN)_/.test(name))
    .filter((name) => name !== "SMTP_PROXY_CONFIG" && name !== "SMTP_PROXY_PUBLISH")
    .map((name) => `${name} is not a setting`);
}
