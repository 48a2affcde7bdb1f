import { basename, dirname, join } from "node:path";
import { isFolder, removeIfThere } from "./files.ts";

const elsewhere = "/var/lib/smtp-proxy-dev";

/**
 * The folder where a cluster lies or will lie. Usually the one asked for; when the server is to run as another user
 * than this process (`another`) and may not enter a folder above it (root's home, for instance), one in /var/lib.
 */
export async function clusterFolder(dir: string, another: boolean): Promise<string> {
  if (await isFolder(dir)) return await Deno.realPath(dir);
  await Deno.mkdir(dirname(dir), { recursive: true });
  const parent = await Deno.realPath(dirname(dir));
  const path = join(parent, basename(dir));
  if (!another || await isOpenToAll(parent)) return path;
  await Deno.mkdir(elsewhere, { recursive: true, mode: 0o755 });
  return join(elsewhere, await digest(path));
}

/** Makes the folder asked for lead to a cluster that lies elsewhere. */
export async function linkCluster(dir: string, real: string): Promise<void> {
  if (await isFolder(dir)) return;
  await removeIfThere(dir);
  await Deno.symlink(real, dir);
}

/** Removes a cluster for good, wherever it lies. */
export async function removeCluster(dir: string): Promise<void> {
  if (await isFolder(dir)) await removeIfThere(await Deno.realPath(dir));
  await removeIfThere(dir);
}

async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(hash).toHex().slice(0, 16);
}

async function isOpenToAll(path: string): Promise<boolean> {
  const { mode } = await Deno.stat(path);
  if (mode !== null && (mode & 0o001) === 0) return false;
  return path === dirname(path) || await isOpenToAll(dirname(path));
}
