/** This program's version, as `--version`, logs and metrics tell it. */
export const version = "0.1.0";

/** What `--version` prints: version, commit and runtime. The commit is what a build or an image carries of it. */
export function versionLine(program: string, commit: string | undefined): string {
  return `${program} ${version} (commit ${commit || "unknown"}, Deno ${Deno.version.deno})`;
}
