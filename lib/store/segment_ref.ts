import { type MessageId, newId, timeOfId } from "../ids.ts";
import type { StorageRef } from "../messages/message.ts";

/** The place of one body in a segment. */
export interface SegmentPlace {
  /** Relative to the store's folder, e.g. `2026/11/23/09/intake0-<uuidv7>.seg`. */
  readonly path: string;
  /** Where the body's bytes begin, after their header. */
  readonly offset: number;
  readonly size: number;
}

const name = "[A-Za-z0-9_-]{1,64}-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(\\.one)?\\.seg";
const pathPattern = new RegExp(`^\\d{4}/\\d{2}/\\d{2}/\\d{2}/${name}$`);
const refPattern = new RegExp(`^local:(\\d{4}/\\d{2}/\\d{2}/\\d{2}/${name})#(\\d{1,15})\\+(\\d{1,15})$`);

/** A new segment's path, in the folder of its hour (UTC); `one` for a segment that holds one body alone. */
export function newSegmentPath(instance: string, one = false): string {
  const id = newId<MessageId>();
  const hour = new Date(timeOfId(id)).toISOString().slice(0, 13).replace(/[-T]/g, "/");
  return `${hour}/${instance}-${id}${one ? ".one" : ""}.seg`;
}

/** When a segment was begun, in milliseconds since 1970; NaN for a path that is no segment's. */
export function segmentTime(path: string): number {
  return timeOfId(pathPattern.exec(path)?.[1] ?? "");
}

/** Whether a segment holds one body alone. */
export function holdsOne(path: string): boolean {
  return path.endsWith(".one.seg");
}

/** Whether a path relative to the store's folder is a segment's. */
export function isSegmentPath(path: string): boolean {
  return pathPattern.test(path);
}

/** The folder of a segment, relative to the store's. */
export function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** The reference that names a place for good. */
export function refOf({ path, offset, size }: SegmentPlace): StorageRef {
  return `local:${path}#${offset}+${size}`;
}

/** The place a reference names; undefined for anything that no store of this kind gave out. */
export function placeOf(ref: string): SegmentPlace | undefined {
  const parts = refPattern.exec(ref);
  if (!parts?.[1]) return undefined;
  return { path: parts[1], offset: Number(parts[4]), size: Number(parts[5]) };
}
