import { serveThread, Thread } from "../thread.ts";
import { type Arrival, type ArrivalLayout, type Arrivals, arrivalsOn, type BodyHashes } from "./arrivals.ts";
import { diskFiles } from "./store_files.ts";

type Question =
  & { readonly id: number }
  & (
    | { readonly ask: "create"; readonly path: string; readonly layout: ArrivalLayout }
    | { readonly ask: "append"; readonly bytes: Uint8Array }
    | { readonly ask: "write"; readonly bytes: Uint8Array; readonly position: number }
    | { readonly ask: "hashes" | "sync" | "close" }
  );

const name = "arriving bodies";

/** Writes and hashes in a thread of its own, so that megabytes hold up nobody's commands. */
export function arrivalsInThread(): Arrivals {
  const thread = new Thread<Question>(import.meta.url, name);
  let ids = 0;
  return {
    async create(path, layout) {
      const id = ++ids;
      await thread.call({ id, ask: "create", path, layout });
      return arrivalOf(thread, id);
    },
    [Symbol.dispose]: () => thread[Symbol.dispose](),
  };
}

function arrivalOf(thread: Thread<Question>, id: number): Arrival {
  return {
    append: async (bytes) => void await thread.call({ id, ask: "append", bytes }),
    hashes: async () => await thread.call({ id, ask: "hashes" }) as BodyHashes,
    write: async (bytes, position) => void await thread.call({ id, ask: "write", bytes, position }),
    sync: async () => void await thread.call({ id, ask: "sync" }),
    close: async () => void await thread.call({ id, ask: "close" }),
  };
}

const arrivals = arrivalsOn(diskFiles);
const open = new Map<number, Arrival>();

serveThread<Question>(name, async (question) => {
  const { id } = question;
  if (question.ask === "create") {
    open.set(id, await arrivals.create(question.path, question.layout));
    return undefined;
  }
  const arrival = open.get(id);
  if (arrival === undefined) throw new Error("Cannot go on with a body of an earlier thread");
  switch (question.ask) {
    case "append":
      await arrival.append(question.bytes);
      return undefined;
    case "hashes":
      return await arrival.hashes();
    case "write":
      await arrival.write(question.bytes, question.position);
      return undefined;
    case "sync":
      await arrival.sync();
      return undefined;
    case "close":
      open.delete(id);
      await arrival.close();
      return undefined;
  }
});
