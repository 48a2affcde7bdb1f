import { versionLine } from "../version.ts";
import type { Service } from "./checks.ts";
import { settingsHelp } from "./document.ts";
import type { LoadedConfig } from "./load.ts";
import { ConfigError, loadConfig } from "./load.ts";
import { pathMistakes } from "./permitted_paths.ts";
import { parseYaml } from "./yaml_file.ts";

/**
 * The settings of this process. Answers `--version` and `--help` (the program's own usage and every setting) and exits
 * with 0; prints every mistake on standard error and exits with 2 when there is one.
 */
export function configOfProcess(service: Service, usage = ""): LoadedConfig {
  if (Deno.args.includes("--version")) {
    say(versionLine(service, Deno.env.get("SMTP_PROXY_BUILD_COMMIT")));
    Deno.exit(0);
  }
  if (Deno.args.some((argument) => argument === "--help" || argument === "-h")) {
    say(`${usage || `${service} [--config FILE] [--version] [--help]\n`}\n${settingsHelp()}`);
    Deno.exit(0);
  }
  try {
    const loaded = loadProcessConfig(service, (name) => Deno.env.get(name), listableNames());
    const mistakes = pathMistakes(service, loaded.config, {
      may: (name, path) => Deno.permissions.querySync({ name, path }).state === "granted",
      built: Deno.build.standalone ? Deno.env.get("SMTP_PROXY_BUILD_PATHS") ?? "" : undefined,
    });
    if (mistakes.length > 0) throw new ConfigError(mistakes);
    return loaded;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    say(`${service}: ${error.message}`, Deno.stderr);
    Deno.exit(2);
  }
}

/** The settings by this process's command line and files, and by the variables given; throws `ConfigError`. */
export function loadProcessConfig(
  service: Service,
  env: (name: string) => string | undefined,
  envNames: readonly string[] = [],
): LoadedConfig {
  return loadConfig({ service, args: Deno.args, env, envNames, readFile: readIfThere, parseFile: parseYaml });
}

/** Listing variables needs permission for all of them; without it nobody is warned of unknown ones. */
function listableNames(): readonly string[] {
  const { state } = Deno.permissions.querySync({ name: "env" });
  return state === "granted" ? Object.keys(Deno.env.toObject()) : [];
}

function readIfThere(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function say(text: string, to = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(`${text.trimEnd()}\n`));
}
