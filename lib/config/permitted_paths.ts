import type { Service } from "./checks.ts";
import type { Config } from "./settings.ts";

/** What a process knows of its permissions. */
export interface PathPermissions {
  readonly may: (access: "read" | "write", path: string) => boolean;
  /** The paths that a built program was given, separated by commas; undefined when it runs from its sources. */
  readonly built: string | undefined;
}

interface NamedPath {
  readonly setting: string;
  readonly path: string;
  readonly writes: boolean;
}

/**
 * What is wrong with the paths that a service's settings name: each must lie where the process may read or write.
 * Programs that use no path of their own have none.
 */
export function pathMistakes(
  service: Service,
  config: Config,
  { may, built }: PathPermissions,
): readonly string[] {
  return pathsOf(service, config).filter(({ path, writes }) =>
    !may("read", path) || (writes && !may("write", path))
  ).map(({ setting, path, writes }) => {
    const verb = writes ? "write" : "read";
    const remedy = built === undefined
      ? `the permissions of its task in deno.json leave it out: add it to --allow-read${
        writes ? " and --allow-write" : ""
      }`
      : `it was built for ${
        built.split(",").join(", ")
      }: build it with \`deno task compile --${verb} ${path}\``;
    return `${setting}: This program may not ${verb} "${path}"; ${remedy}`;
  });
}

function pathsOf(service: Service, { storage, tls, queue, logging }: Config): readonly NamedPath[] {
  const named = {
    storage: { setting: "storage.path", path: storage.path, writes: true },
    certificate: { setting: "tls.cert_file", path: tls.certFile, writes: false },
    key: { setting: "tls.key_file", path: tls.keyFile, writes: false },
    redis: { setting: "queue.redis_ca_file", path: queue.redisCaFile, writes: false },
    log: {
      setting: "logging.file_path",
      path: logging.output === "file" ? folderOf(logging.filePath) : "",
      writes: true,
    },
  };
  const used: Partial<Record<Service, readonly NamedPath[]>> = {
    "smtp-server": [named.storage, named.certificate, named.key, named.redis, named.log],
    "queue-worker": [named.storage, named.redis, named.log],
    "api-server": [{ ...named.storage, writes: false }, named.redis, named.log],
    "spool": [{ ...named.storage, writes: false }],
  };
  return (used[service] ?? []).filter(({ path }) => path !== "");
}

/** Files are rolled, so the folder is written. */
function folderOf(file: string): string {
  return file.slice(0, Math.max(0, file.lastIndexOf("/"))) || (file.startsWith("/") ? "/" : ".");
}
