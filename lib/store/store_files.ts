import { writeSync } from "node:fs";
import { type FileHandle, mkdir, open, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { coalesce, type ItemResult } from "../coalesce.ts";
import { codeOf } from "./disk_errors.ts";

/** A file that is being written. */
export interface StoreFile {
  /** Writes all bytes at a position. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** The bytes and the size are durable when it resolves. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** What a store asks of the file system; a parameter, so that tests can let a disk fail. */
export interface StoreFiles {
  /** A new file; throws EEXIST when there is one. */
  create(path: string): Promise<StoreFile>;
  rename(from: string, to: string): Promise<void>;
  /** The names in a folder are durable when it resolves. */
  syncFolder(path: string): Promise<void>;
}

/** The real file system. */
export const diskFiles: StoreFiles = {
  create: async (path) => storeFile(await open(path, "wx", 0o660)),
  rename,
  async syncFolder(path) {
    using folder = await Deno.open(path);
    await folder.sync();
  },
};

function storeFile(file: FileHandle): StoreFile {
  return {
    // Into the page cache and in place, as the asynchronous call of this runtime does it too, but without its detour.
    write(bytes, position) {
      return Promise.try(() => {
        for (let at = 0; at < bytes.length;) {
          at += writeSync(file.fd, bytes, at, bytes.length - at, position + at);
        }
      });
    },
    sync: () => file.datasync(),
    close: () => file.close(),
  };
}

/** The folders of a store: made with all that is above them, and synced. */
export class StoreFolders {
  readonly #root: string;
  readonly #mark: string | undefined;
  readonly #known = new Set<string>();
  /** The names in a folder (relative to the root) are durable when it resolves; concurrent calls share one sync. */
  readonly sync: (folder: string) => Promise<void>;

  /** `mark` names a file of the root without which it is another folder, such as one that nothing is mounted on. */
  constructor(root: string, files: StoreFiles, mark?: string) {
    this.#root = root;
    this.#mark = mark;
    this.sync = coalesce((folders: readonly string[]) => {
      const syncs = new Map<string, Promise<ItemResult<void>>>();
      return Promise.all(folders.map((folder) => {
        let sync = syncs.get(folder);
        if (!sync) syncs.set(folder, sync = ended(files.syncFolder(join(root, folder))));
        return sync;
      }));
    });
  }

  /** Makes a folder that will survive a power failure together with what is synced in it. */
  async make(folder: string): Promise<void> {
    if (this.#known.has(folder)) return;
    // What is written where the store is not can never be read where it is.
    if (this.#mark !== undefined) await stat(join(this.#root, this.#mark));
    const parts = folder.split("/");
    for (let depth = 1; depth <= parts.length; depth++) {
      await makeOne(join(this.#root, ...parts.slice(0, depth)));
      // Also when it was there: whoever made it may not have come to sync it.
      await this.sync(parts.slice(0, depth - 1).join("/"));
    }
    if (this.#known.size > 1000) this.#known.clear();
    this.#known.add(folder);
  }

  /** Forgets that a folder was made; for when it turns out to be gone. */
  forget(folder: string): void {
    this.#known.delete(folder);
  }
}

async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o770 });
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

async function ended(work: Promise<void>): Promise<ItemResult<void>> {
  try {
    return { ok: true, value: await work };
  } catch (error) {
    return { ok: false, error };
  }
}
