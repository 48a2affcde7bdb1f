import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isAbsence } from "./segment_reader.ts";
import { isSegmentPath, segmentTime } from "./segment_ref.ts";

/**
 * The segments below a store's folder, relative to it, oldest first; also those that only marks are left of. Throws at
 * the end when a folder could not be read.
 */
export async function* segmentPaths(root: string): AsyncGenerator<string> {
  const failures: unknown[] = [];
  for await (const hour of hours(root, "", 4, failures)) {
    const names = await namesIn(join(root, hour), failures);
    // Marks whose segment is gone are what a crash left of a deletion.
    const paths = [...new Set(names.map((name) => `${hour}/${name.replace(/\.gone$/, "")}`))].filter(
      isSegmentPath,
    );
    yield* paths.sort((a, b) => segmentTime(a) - segmentTime(b));
  }
  if (failures.length > 0) throw failures[0];
}

/** The folders of the hours, oldest first. */
async function* hours(
  root: string,
  folder: string,
  depth: number,
  failures: unknown[],
): AsyncGenerator<string> {
  if (depth === 0) return yield folder;
  const pattern = depth === 4 ? /^\d{4}$/ : /^\d{2}$/;
  for (const name of (await namesIn(join(root, folder), failures)).sort()) {
    if (pattern.test(name)) yield* hours(root, folder ? `${folder}/${name}` : name, depth - 1, failures);
  }
}

/** A folder that cannot be read hides none of the others. */
async function namesIn(folder: string, failures: unknown[]): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (!isAbsence(error)) failures.push(error);
    return [];
  }
}
