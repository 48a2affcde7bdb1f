import { freeBytes } from "../store/room.ts";
import type { Metrics } from "./metrics.ts";

/** Tells at each scrape how much room a folder's file system has for its owner. */
export function watchStoreSpace({ store, onScrape }: Metrics, folder: string): void {
  onScrape(async () => store.freeBytes.set(await freeBytes(folder)));
}
