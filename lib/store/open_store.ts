import type { StorageRef } from "../messages/message.ts";
import { type LocalStoreOptions, openLocalStore, type RoomyStore } from "./local_store.ts";

/** Which store new bodies go to, and how to reach it. */
export type StoreOptions = (LocalStoreOptions & { readonly type: "local" }) | { readonly type: "s3" };

/** Opens the store that `storage.type` names; it reads every reference of a store it has opened, and refuses others. */
export async function openStore(options: StoreOptions): Promise<RoomyStore> {
  if (options.type === "s3") throw new Error("Cannot open the body store: storage.type s3 is not built yet");
  const local = await openLocalStore(options);
  const stores = new Map([["local", local]]);

  // A reference to a store that is not configured is no body that is gone.
  function storeOf(ref: StorageRef): RoomyStore {
    const store = stores.get(ref.slice(0, ref.indexOf(":")));
    if (!store) throw new Error(`Cannot reach the store of a body: its reference is "${ref.slice(0, 200)}"`);
    return store;
  }

  return {
    checkRoom: () => local.checkRoom(),
    checkThere: () => local.checkThere(),
    put: (label, body) => local.put(label, body),
    get: async (ref) => await storeOf(ref).get(ref),
    remove: async (ref) => await storeOf(ref).remove(ref),
    list: (olderThan) => local.list(olderThan),
    [Symbol.asyncDispose]: () => local[Symbol.asyncDispose](),
  };
}
