import { type MessageId, timeOfId } from "../ids.ts";
import type { StorageRef } from "../messages/message.ts";

/** One object that is a body. */
export interface S3Object {
  /** Without the prefix of the settings, so that bodies may move: `2026/11/23/09/<message id>.eml`. */
  readonly path: string;
  readonly size: number;
}

const path = "\\d{4}/\\d{2}/\\d{2}/\\d{2}/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\\.eml";
const pathPattern = new RegExp(`^${path}$`);
const refPattern = new RegExp(`^s3:(${path})\\+(\\d{1,15})$`);

/** The one path of a message's body, in the folder of the hour (UTC) in which its id was made. */
export function pathOf(id: MessageId): string {
  const hour = new Date(timeOfId(id)).toISOString().slice(0, 13).replace(/[-T]/g, "/");
  return `${hour}/${id}.eml`;
}

/** The reference that names an object for good. */
export function refOf({ path, size }: S3Object): StorageRef {
  return `s3:${path}+${size}`;
}

/** The object a reference names; undefined for anything that no store of this kind gave out. */
export function objectOf(ref: string): S3Object | undefined {
  const parts = refPattern.exec(ref);
  return parts?.[1] === undefined ? undefined : { path: parts[1], size: Number(parts[3]) };
}

/** The message whose body lies at a path; undefined for a path that is no body's. */
export function idOfPath(path: string): MessageId | undefined {
  return pathPattern.exec(path)?.[1] as MessageId | undefined;
}
