import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { StorageRef } from "../messages/message.ts";
import type { BodyLabel } from "./message_store.ts";
import { segmentPaths } from "./segment_folders.ts";
import { isAbsence } from "./segment_reader.ts";
import { holdsOne, refOf, type SegmentPlace } from "./segment_ref.ts";
import { SegmentRemoval } from "./segment_removal.ts";
import { scanSegment } from "./segment_scan.ts";

/** A body that a local store keeps, found by its header alone. */
export interface KeptBody {
  readonly kind: "body";
  readonly label: BodyLabel;
  readonly ref: StorageRef;
  readonly place: SegmentPlace;
  readonly storedAtMs: number;
}

/** A segment in which there seem to be more bodies behind one that is damaged. */
export interface DamagedSegment {
  readonly kind: "damage";
  readonly path: string;
}

/**
 * Everything that the local store of a folder keeps, oldest segment first, without what was removed; it writes nothing,
 * and reads no body. Throws when the folder is no store.
 */
export async function* walkSegments(root: string): AsyncGenerator<KeptBody | DamagedSegment> {
  await stat(join(root, "FORMAT"));
  const removal = new SegmentRemoval(root, () => {});
  for await (const path of segmentPaths(root)) {
    let isDamaged = false;
    const marks = holdsOne(path) ? new Set<number>() : await removal.marks(path);
    try {
      for await (
        const { label, offset, size, storedAtMs } of scanSegment(join(root, path), () => isDamaged = true)
      ) {
        const place = { path, offset, size };
        if (!marks.has(offset)) yield { kind: "body", label, ref: refOf(place), place, storedAtMs };
      }
    } catch (error) {
      // Only its marks are left.
      if (!isAbsence(error)) throw error;
    }
    if (isDamaged) yield { kind: "damage", path };
  }
}
