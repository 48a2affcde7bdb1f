import { closeSync, openSync, writeSync } from "node:fs";

/** How a message ended for the client: one list of ids for each. */
export type IdList = "acked" | "doubtful" | "refused" | "resent";

const suffixes: Readonly<Record<IdList, string>> = {
  acked: "",
  doubtful: ".doubtful",
  refused: ".refused",
  resent: ".resent",
};

/**
 * Appends ids to files, one a line: `path` itself takes the acknowledged ones. Several processes may share the
 * files. Without a path nothing is kept.
 */
export class IdFiles implements Disposable {
  readonly #files = new Map<IdList, { readonly file: number; waiting: string }>();
  readonly #timer: ReturnType<typeof setInterval> | undefined;

  constructor(path: string) {
    if (path === "") return;
    for (const list of ["acked", "doubtful", "refused", "resent"] as const) {
      this.#files.set(list, { file: openSync(path + suffixes[list], "a"), waiting: "" });
    }
    this.#timer = setInterval(() => this.#flush(), 200);
  }

  add(list: IdList, id: string): void {
    const entry = this.#files.get(list);
    if (entry !== undefined) entry.waiting += `${id}\n`;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#flush();
    for (const { file } of this.#files.values()) closeSync(file);
    this.#files.clear();
  }

  #flush(): void {
    for (const entry of this.#files.values()) {
      if (entry.waiting !== "") writeSync(entry.file, entry.waiting);
      entry.waiting = "";
    }
  }
}
