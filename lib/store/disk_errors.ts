import { Refusal } from "../refusal.ts";

/** The same error, or `Refusal("body_store_full")` for one that says that the disk or the quota is full. */
export function fullOr(error: unknown): unknown {
  const code = codeOf(error);
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new Refusal("body_store_full", `Cannot store a body: the disk is full (${code})`, { cause: error });
}

/** The operating system's name of an error, e.g. `ENOENT`; undefined for any other error. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
