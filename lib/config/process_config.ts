import type { Service } from "./checks.ts";
import type { LoadedConfig } from "./load.ts";
import { ConfigError, loadConfig } from "./load.ts";
import { parseYaml } from "./yaml_file.ts";

/** The settings of this process. Prints every mistake on standard error and exits with 2 when there is one. */
export function configOfProcess(service: Service): LoadedConfig {
  try {
    return loadProcessConfig(service, (name) => Deno.env.get(name), listableNames());
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    Deno.stderr.writeSync(new TextEncoder().encode(`${service}: ${error.message}\n`));
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
