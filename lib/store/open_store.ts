import type { StorageRef } from "../messages/message.ts";
import { type LocalStoreOptions, openLocalStore, type RoomyStore } from "./local_store.ts";
import type { StoredBody } from "./message_store.ts";
import { openS3Store, type ReachableStore, type S3StoreOptions } from "./s3_store.ts";
import { isAbsence } from "./segment_reader.ts";

/** Which store new bodies go to, and how to reach both. */
export interface StoreOptions extends LocalStoreOptions {
  readonly type: "local" | "s3";
  /** Without it no reference to S3 can be read. */
  readonly s3?: S3StoreOptions;
}

/**
 * Opens the store that `storage.type` names. Bodies of the other one are read, removed and listed too, so that the
 * type can be changed at any time; references to a store that is not configured are refused. Room is that of the local
 * folder, through which large bodies go in any case.
 */
export async function openStore(options: StoreOptions): Promise<RoomyStore> {
  const { type, s3: s3Options, ...localOptions } = options;
  if (type === "s3" && s3Options === undefined) {
    throw new Error("Cannot open the body store: storage.type is s3, but storage.s3_bucket is empty");
  }
  const s3 = s3Options && openS3Store(s3Options);
  const local = await openLocalStore(type === "s3" ? { ...localOptions, mustExist: true } : localOptions);
  const stores = new Map<string, RoomyStore | ReachableStore>([["local", local]]);
  if (s3 !== undefined) stores.set("s3", s3);
  const first = type === "s3" && s3 !== undefined ? s3 : local;

  // A reference to a store that is not configured is no body that is gone.
  function storeOf(ref: StorageRef): RoomyStore | ReachableStore {
    const store = stores.get(ref.slice(0, ref.indexOf(":")));
    if (!store) throw new Error(`Cannot reach the store of a body: its reference is "${ref.slice(0, 200)}"`);
    return store;
  }

  /** What one store fails at hides nothing of the other. */
  async function* list(olderThan: Date): AsyncGenerator<StoredBody> {
    const failures: unknown[] = [];
    for (const store of new Set([first, ...stores.values()])) {
      try {
        yield* store.list(olderThan);
      } catch (error) {
        // There never was a local store here.
        if (store !== local || first === local || !isAbsence(error)) failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  return {
    checkRoom: () => local.checkRoom(),
    checkThere: () => first.checkThere(),
    put: (label, body) => first.put(label, body),
    get: async (ref) => await storeOf(ref).get(ref),
    remove: async (ref) => await storeOf(ref).remove(ref),
    list,
    async [Symbol.asyncDispose]() {
      await local[Symbol.asyncDispose]();
      await s3?.[Symbol.asyncDispose]();
    },
  };
}
