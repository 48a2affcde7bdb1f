import { dirname, join } from "node:path";

/** A file of the project, its path as seen from the project's folder. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

/** Every TypeScript and SQL file below the folders given. */
export async function readSources(folders: readonly string[]): Promise<readonly Source[]> {
  const found: Source[] = [];
  for (const folder of folders) {
    for await (const entry of Deno.readDir(folder)) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory) found.push(...await readSources([path]));
      else if (/\.(tsx?|sql)$/.test(entry.name)) found.push({ path, text: await Deno.readTextFile(path) });
    }
  }
  return found.sort((a, b) => a.path < b.path ? -1 : 1);
}

/** What a file imports: by import and export statements, type imports included, and by constant `import()`. */
export function importsOf(text: string): string[] {
  const statements = /^(?:import|export)\s+(?:[^;"'`()=]*?\sfrom\s+)?"([^"]+)"/gm;
  const calls = /\bimport\(\s*"([^"]+)"/g;
  return [...text.matchAll(statements), ...text.matchAll(calls)].flatMap((match) => match[1] ?? []);
}

/** The same without type imports: what is read when the file runs. */
export function loadedBy(text: string): string[] {
  return importsOf(text.replaceAll(/^(?:import|export) type [^;]*;/gm, ""));
}

/** The file that a relative import names; undefined for any other. */
export function resolveImport(from: string, specifier: string): string | undefined {
  return specifier.startsWith(".") ? join(dirname(from), specifier) : undefined;
}

/** The package that an import names, without the path inside it; undefined for files and for Node's own modules. */
export function packageOf(specifier: string): string | undefined {
  if (/^(\.|node:)/.test(specifier)) return undefined;
  return specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}

/** One cycle of the graph, as the files along it; empty when there is none. */
export function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  function visit(path: string, trail: readonly string[]): string[] {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return [];
    for (const next of graph.get(path) ?? []) {
      const cycle = visit(next, [...trail, path]);
      if (cycle.length > 0) return cycle;
    }
    done.add(path);
    return [];
  }
  for (const path of graph.keys()) {
    const cycle = visit(path, []);
    if (cycle.length > 0) return cycle;
  }
  return [];
}
