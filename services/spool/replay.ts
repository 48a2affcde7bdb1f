import type { MessageId } from "../../lib/ids.ts";
import {
  type BodyStanding,
  insertRestored,
  type RestoredMessage,
  standingOf,
} from "../../lib/messages/replay_restored.ts";
import type { Session } from "../../lib/postgres/database.ts";
import { faultText } from "../../lib/postgres/faults.ts";
import { DamagedBody } from "../../lib/store/file_body.ts";
import { SegmentReader } from "../../lib/store/segment_reader.ts";
import { type KeptBody, walkSegments } from "../../lib/store/segment_walk.ts";
import { factsOf, needsUtf8 } from "./body_facts.ts";

/** What replaying takes. */
export interface ReplayOptions {
  /** Logged in as the owner of the tables. */
  readonly owner: Session;
  /** The local store's folder. */
  readonly root: string;
  /** Becomes the correlation id of every message that is written. */
  readonly run: string;
  readonly isDryRun: boolean;
  /** Told, as a sentence, of each body or segment that could not be replayed. */
  readonly onTrouble: (sentence: string) => void;
  /** Messages of one transaction. */
  readonly pageSize?: number;
}

/** What a replay came to. */
export interface Replayed {
  /** Dead letters that were written, or would be. */
  readonly written: number;
  /** Bodies whose rows there are. */
  readonly known: number;
  /** Bodies that no row could be made for, and damaged segments. */
  readonly troubles: number;
}

const defaultPage = 500;
const obstacles: Readonly<Partial<Record<BodyStanding, string>>> = {
  "group_unknown": "its group is not in the database",
  "account_unknown": "its account is not in the database",
  "too_old": "its week is being dropped",
};

/**
 * Makes dead letters of all bodies of a local store that no row names: what was accepted after the backup that the
 * database was restored from (ruling 3.22). A second run finds nothing to do. Damaged bodies are told and left.
 */
export async function replay(options: ReplayOptions): Promise<Replayed> {
  const { root, onTrouble, pageSize = defaultPage } = options;
  const tally = { written: 0, known: 0, troubles: 0 };
  const trouble = (sentence: string) => {
    tally.troubles++;
    onTrouble(sentence);
  };
  await using reader = new SegmentReader({ root });
  let page: KeptBody[] = [];
  const endPage = async () => {
    const { missing, known } = await look(options.owner, page, trouble);
    page = [];
    tally.known += known;
    const whole = await readAll(reader, missing, trouble);
    tally.written += options.isDryRun ? whole.length : await write(options, whole, trouble);
  };
  for await (const found of walkSegments(root)) {
    if (found.kind === "damage") {
      trouble(
        `segment ${found.path}: damaged; there seem to be bodies behind the damage, which cannot be read`,
      );
      continue;
    }
    page.push(found);
    if (page.length >= pageSize) await endPage();
  }
  await endPage();
  return tally;
}

type Trouble = (sentence: string) => void;

async function look(
  owner: Session,
  page: readonly KeptBody[],
  trouble: Trouble,
): Promise<{ readonly missing: readonly KeptBody[]; readonly known: number }> {
  if (page.length === 0) return { missing: [], known: 0 };
  const standings = await standingOf(owner, page.map(({ label }) => label));
  const missing = new Map<MessageId, KeptBody>();
  let known = 0;
  for (const body of page) {
    const standing = standings.get(body.label.id);
    if (standing === "known") known++;
    else if (standing === "missing") missing.set(body.label.id, body);
    else {trouble(
        `message ${body.label.id}: ${(standing && obstacles[standing]) ?? "it cannot be looked up"}`,
      );}
  }
  return { missing: [...missing.values()], known };
}

async function readAll(
  reader: SegmentReader,
  bodies: readonly KeptBody[],
  trouble: Trouble,
): Promise<readonly RestoredMessage[]> {
  const whole: RestoredMessage[] = [];
  for (const { label, ref, place, storedAtMs } of bodies) {
    try {
      await using body = await reader.read(place);
      if (body === undefined) throw new DamagedBody("The bytes are not those that were stored");
      const facts = await factsOf(body);
      const { size, sha256 } = body;
      const storedAt = new Date(storedAtMs);
      whole.push({ label, storageRef: ref, storedAt, size, sha256, ...facts, smtpUtf8: needsUtf8(label) });
    } catch (error) {
      if (!(error instanceof DamagedBody)) throw error;
      trouble(`message ${label.id}: its body in ${place.path} is damaged`);
    }
  }
  return whole;
}

/** What fails as a whole is written one by one, so that only what is at fault is left out. */
async function write(
  { owner, run }: Pick<ReplayOptions, "owner" | "run">,
  messages: readonly RestoredMessage[],
  trouble: Trouble,
): Promise<number> {
  if (messages.length === 0) return 0;
  try {
    return await insertRestored(owner, messages, run);
  } catch (error) {
    const [first] = messages;
    if (messages.length === 1 && first !== undefined) {
      trouble(`message ${first.label.id}: ${faultText(error)}`);
      return 0;
    }
  }
  let written = 0;
  for (const message of messages) written += await write({ owner, run }, [message], trouble);
  return written;
}
