import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { StorageRef } from "../messages/message.ts";
import type { Body } from "./body.ts";
import { DamagedBody, sameBytes } from "./file_body.ts";
import { codeOf } from "./disk_errors.ts";
import { folderOf, newSegmentPath, refOf } from "./segment_ref.ts";
import { createPart, spoolFolder } from "./spool_folder.ts";
import { SpooledBody } from "./spooled_body.ts";
import type { StoreFile, StoreFiles, StoreFolders } from "./store_files.ts";

/** Where bodies with a segment of their own go. */
export interface SingleSegments {
  readonly root: string;
  readonly instance: string;
  readonly files: StoreFiles;
  readonly folders: StoreFolders;
}

/**
 * Stores a large body as a segment of its own, synced alone; durable when it resolves (ruling 3.7). A spooled body
 * is not copied: its file becomes the segment.
 */
export async function storeAlone(store: SingleSegments, header: Uint8Array, body: Body): Promise<StorageRef> {
  const path = newSegmentPath(store.instance, true);
  await store.folders.make(folderOf(path));
  if (!await adopt(store, path, header, body)) await copy(store, path, header, body);
  await store.folders.sync(folderOf(path));
  return refOf({ path, offset: header.length, size: body.size });
}

/** Makes a spooled body's own file the segment; false for any other body, and where that cannot be. */
async function adopt(store: SingleSegments, path: string, header: Uint8Array, body: Body): Promise<boolean> {
  if (!(body instanceof SpooledBody) || body.headerSize !== header.length) return false;
  const file = body.takeFile();
  if (!file) return false;
  await closing(file, async () => {
    await file.write(header, 0);
    await file.sync();
  });
  try {
    await store.files.rename(body.path, join(store.root, path));
  } catch (error) {
    if (codeOf(error) === "EXDEV") return false; // the spool lies on another file system
    throw error;
  }
  body.adoptedAs(join(store.root, path));
  return true;
}

/** Through the spool folder, so that whatever is called a segment is a whole one. */
async function copy(store: SingleSegments, path: string, header: Uint8Array, body: Body): Promise<void> {
  const part = await createPart(spoolFolder(store.root), store.files);
  try {
    await closing(part.file, () => writeAll(part.file, header, body));
    await store.files.rename(part.path, join(store.root, path));
  } catch (error) {
    // When it cannot be removed now, it is once it is stale.
    await Promise.allSettled([rm(part.path, { force: true })]);
    throw error;
  }
}

async function writeAll(file: StoreFile, header: Uint8Array, body: Body): Promise<void> {
  const hash = createHash("sha256");
  await file.write(header, 0);
  let at = header.length;
  for await (const chunk of body.stream()) {
    hash.update(chunk);
    await file.write(chunk, at);
    at += chunk.length;
  }
  if (at - header.length !== body.size || !sameBytes(hash.digest(), body.sha256)) {
    throw new DamagedBody(`Cannot store a body of ${body.size} bytes: ${at - header.length} others came`);
  }
  await file.sync();
}

async function closing(file: StoreFile, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    // The first failure is the one that counts.
    await Promise.allSettled([file.close()]);
    throw error;
  }
  await file.close();
}
