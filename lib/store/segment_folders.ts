import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isAbsence } from "./segment_reader.ts";
import { isSegmentPath, segmentTime } from "./segment_ref.ts";

/** The segments below a store's folder, relative to it, oldest first; also those that only marks are left of. */
export async function* segmentPaths(root: string): AsyncGenerator<string> {
  for await (const hour of hours(root, "", 4)) {
    const names = await namesIn(join(root, hour));
    // Marks whose segment is gone are what a crash left of a deletion.
    const paths = [...new Set(names.map((name) => `${hour}/${name.replace(/\.gone$/, "")}`))].filter(
      isSegmentPath,
    );
    yield* paths.sort((a, b) => segmentTime(a) - segmentTime(b));
  }
}

/** The folders of the hours, oldest first. */
async function* hours(root: string, folder: string, depth: number): AsyncGenerator<string> {
  if (depth === 0) return yield folder;
  const pattern = depth === 4 ? /^\d{4}$/ : /^\d{2}$/;
  for (const name of (await namesIn(join(root, folder))).sort()) {
    if (pattern.test(name)) yield* hours(root, folder ? `${folder}/${name}` : name, depth - 1);
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isAbsence(error)) return [];
    throw error;
  }
}
