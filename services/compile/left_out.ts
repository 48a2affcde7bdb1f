import { join } from "node:path";

/**
 * Folders of fetched packages that no program needs and that must not be carried: bintrees (below prom-client) has
 * test data on which `deno compile` overflows its stack. `cache` is where Deno keeps npm packages.
 */
export function leftOut(cache: string): readonly string[] {
  return foldersIn(cache).flatMap((registry) => {
    const versions = join(registry, "bintrees");
    return foldersIn(versions).map((version) => join(version, "test"));
  });
}

function foldersIn(folder: string): readonly string[] {
  try {
    return [...Deno.readDirSync(folder)].filter(({ isDirectory }) => isDirectory).map(({ name }) =>
      join(folder, name)
    );
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
