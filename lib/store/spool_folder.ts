import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type MessageId, newId } from "../ids.ts";
import { codeOf } from "./disk_errors.ts";
import type { StoreFile, StoreFiles } from "./store_files.ts";

/** A file that will be a segment once it is whole. */
export interface Part<File extends StoreFile = StoreFile> {
  readonly path: string;
  readonly file: File;
}

/** The folder for arriving bodies that lies beside the segments of a local store, on the same file system. */
export function spoolFolder(storePath: string): string {
  return join(storePath, "spool");
}

/** Where the next body arrives. */
export function newPartPath(folder: string): string {
  return join(folder, `${newId<MessageId>()}.part`);
}

/** A new file for a body that arrives. */
export async function createPart(folder: string, files: StoreFiles): Promise<Part> {
  const path = newPartPath(folder);
  return { path, file: await files.create(path) };
}

/** Removes what dead processes left in the folder: files that nobody has written to for an hour. */
export async function removeStaleParts(folder: string, nowMs = Date.now()): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.endsWith(".part")) continue;
    const path = join(folder, name);
    try {
      if ((await stat(path)).mtimeMs < nowMs - 3_600_000) await rm(path, { force: true });
    } catch (error) {
      // Adopted or removed by its owner meanwhile.
      if (codeOf(error) !== "ENOENT") throw error;
    }
  }
}
