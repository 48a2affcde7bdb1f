import { mkdir, open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { anyStoreKnown, lockStores, recordStore } from "../../lib/messages/stores_table.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { isAbsence } from "../../lib/store/segment_reader.ts";

/** The file by which a folder of bodies is known; it holds the id that the database has recorded. */
export const storeMark = ".smtp-proxy-store";

/** What somebody has to do about a folder that is away. */
export const awayReason =
  "bodies were kept in a folder with this file before: mount it, or make the file, empty, for a store that is to be new";

/** The file by which a local store knows its format. */
const formatFile = "FORMAT";

/**
 * Whether the folder should hold a store and does not, as where nothing is mounted. The first folder of a database is
 * marked, as is one in which somebody made an empty mark: hosts may share a folder, or each have one of its own.
 */
export async function isStoreAway(database: Database, path: string): Promise<boolean> {
  return await database.transaction(async (sql) => {
    await lockStores(sql);
    const mark = await readMark(path);
    if (mark !== undefined && mark !== "") {
      await recordStore(sql, idOf(mark, path));
      return false;
    }
    const isOurs = mark === "" || await isThere(join(path, formatFile)) || !await anyStoreKnown(sql);
    if (!isOurs) return true;
    const id = crypto.randomUUID();
    await writeMark(path, id);
    await recordStore(sql, id);
    return false;
  });
}

function idOf(mark: string, path: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(mark)) return mark;
  throw new Error(
    `Cannot use the folder of bodies: current value of ${join(path, storeMark)} is ${
      JSON.stringify(mark.slice(0, 100))
    }`,
  );
}

async function readMark(path: string): Promise<string | undefined> {
  try {
    return (await readFile(join(path, storeMark), "utf8")).trim();
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

async function isThere(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (isAbsence(error)) return false;
    throw error;
  }
}

async function writeMark(path: string, id: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o770 });
  await using file = await open(join(path, storeMark), "w", 0o660);
  await file.write(`${id}\n`);
  await file.sync();
  using folder = await Deno.open(path);
  await folder.sync();
}
