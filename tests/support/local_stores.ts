import { join } from "node:path";
import type { StorageRef } from "../../lib/messages/message.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";
import { type LocalStoreOptions, openLocalStore, type RoomyStore } from "../../lib/store/local_store.ts";
import { placeOf } from "../../lib/store/segment_ref.ts";
import { openSpool, type Spool } from "../../lib/store/spool.ts";
import { spoolFolder } from "../../lib/store/spool_folder.ts";
import { newLabel, someBytes } from "../contracts/message_store_contract.ts";

/** A local store in a folder of its own, which goes when it is disposed. */
export interface TestStore extends AsyncDisposable {
  readonly path: string;
  readonly store: RoomyStore;
  readonly spool: Spool;
  /** Another store on the same folder, as another process would have; closed with the first. */
  reopen(options?: Partial<LocalStoreOptions>): Promise<RoomyStore>;
  /** The absolute path of the file a reference names. */
  fileOf(ref: string): string;
  /** All files of the folder but the one that says what it is, relative, sorted. */
  files(): Promise<string[]>;
}

/** Opens a store in a new folder. */
export async function openTestStore(options: Partial<LocalStoreOptions> = {}): Promise<TestStore> {
  const path = await Deno.makeTempDir({ prefix: "smtp-proxy-store-" });
  const opened: AsyncDisposable[] = [];
  async function reopen(more: Partial<LocalStoreOptions> = {}): Promise<RoomyStore> {
    const store = await openLocalStore({ path, instance: "test", minFree: 0, ...options, ...more });
    opened.push(store);
    return store;
  }
  const store = await reopen();
  const spool = await openSpool({
    directory: spoolFolder(path),
    ...options.files && { files: options.files },
  });
  return {
    path,
    store,
    spool,
    reopen,
    fileOf: (ref) => join(path, placeOf(ref)?.path ?? ""),
    files: async () => (await filesIn(path, "")).filter((name) => name !== "FORMAT").sort(),
    async [Symbol.asyncDispose]() {
      await spool[Symbol.asyncDispose]();
      for (const one of opened) await one[Symbol.asyncDispose]();
      await Deno.remove(path, { recursive: true });
    },
  };
}

async function filesIn(root: string, folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(join(root, folder))) {
    const path = join(folder, name);
    if (isDirectory) names.push(...await filesIn(root, path));
    else names.push(path);
  }
  return names;
}

/** Changes one byte of a file. */
export async function flipByte(path: string, at: number): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  const byte = new Uint8Array(1);
  await file.seek(at, Deno.SeekMode.Start);
  await file.read(byte);
  await file.seek(at, Deno.SeekMode.Start);
  await file.write(Uint8Array.of((byte[0] ?? 0) ^ 0xff));
}

/** Waits for the clock of the segments: everything is old and settled. */
export function inAnHour(): number {
  return Date.now() + 3_600_000;
}

/** Puts so many bodies of a size, all at once; answers their references in order. */
export function putSome(store: MessageStore, count: number, size: number): Promise<StorageRef[]> {
  return Promise.all(Array.from({ length: count }, (_, seed) => {
    return store.put(newLabel(), memoryBody(someBytes(size, seed)));
  }));
}
