import assert from "node:assert/strict";
import { join } from "node:path";
import { type GroupId, type MessageId, newId, type UserId } from "../../lib/ids.ts";
import { openSession, type Session } from "../../lib/postgres/database.ts";
import { openLocalStore, type RoomyStore } from "../../lib/store/local_store.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import type { BodyLabel } from "../../lib/store/message_store.ts";
import { placeOf } from "../../lib/store/segment_ref.ts";
import { replay, type Replayed } from "../../services/spool/replay.ts";
import { addMail } from "../support/mail_rows.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { runProgram } from "../support/run_program.ts";
import { makeAccount, type TestAccount } from "../support/submissions.ts";

const encoder = new TextEncoder();
const text = "Received: from x\r\nFrom: Me <me@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" +
  "Message-ID: <1@example.com>\r\n\r\nHello\r\n";

/** A migrated database and a store of bodies, some of which have rows. */
class Room implements AsyncDisposable {
  private constructor(
    readonly database: TestDatabase,
    readonly owner: Session,
    readonly account: TestAccount,
    readonly folder: string,
    readonly store: RoomyStore,
  ) {}

  static async open(): Promise<Room> {
    const database = await testDatabase();
    const owner = await openSession({ url: database.ownerUrl });
    const account = await makeAccount(database.ownerUrl);
    const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_replay_" });
    const path = join(folder, "messages");
    const store = await openLocalStore({ path, instance: "0", minFree: 0 });
    return new Room(database, owner, account, folder, store);
  }

  /** Keeps a body whose message has no row. */
  async keep(change: Partial<BodyLabel> = {}, body = text) {
    const label = {
      id: newId<MessageId>(),
      group: this.account.group,
      user: this.account.user,
      mailFrom: "me@example.com",
      recipients: ["one@example.net", "two@example.net"],
      ...change,
    };
    return { id: label.id, ref: await this.store.put(label, memoryBody(encoder.encode(body))) };
  }

  async replay(isDryRun = false): Promise<Replayed & { readonly told: readonly string[] }> {
    const told: string[] = [];
    const root = join(this.folder, "messages");
    const { owner } = this;
    const onTrouble = (sentence: string) => void told.push(sentence);
    return { ...await replay({ owner, root, run: "test", isDryRun, onTrouble, pageSize: 2 }), told };
  }

  async rows(): Promise<readonly Record<string, unknown>[]> {
    return await this.owner.run(`
      select m.id, m.status, m.failure_code, m.subject, m.header_from, m.rfc_message_id, m.storage_ref,
        m.smtp_utf8, m.eight_bit, m.recipient_count as count,
        string_agg(r.address || ' ' || r.status || ' ' || r.failure_code, ', ' order by r.position) as recipients
      from messages m left join recipients r on r.message_id = m.id group by m.id order by m.id`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]();
    await this.owner[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("replay() makes a dead letter of each body without a row, with all that body and header tell, once", async () => {
  await using room = await Room.open();
  const { id, ref } = await room.keep();
  const odd = await room.keep({ mailFrom: "", recipients: ["jürgen@example.net"] }, "no header at all: ü");
  const known = await room.keep();
  await addMail(room.owner, { ...room.account, id: known.id, status: "delivered", storageRef: known.ref });
  const removed = await room.keep();
  await room.store.remove(removed.ref);
  assert.deepEqual(await room.replay(true), { written: 2, known: 1, troubles: 0, told: [] });
  assert.equal((await room.rows()).length, 1);
  assert.deepEqual(await room.replay(), { written: 2, known: 1, troubles: 0, told: [] });
  const dead = { status: "failed", "failure_code": "restored" };
  assert.deepEqual((await room.rows()).slice(0, 2), [
    {
      ...dead,
      id,
      subject: "Grüße",
      "header_from": "me@example.com",
      "rfc_message_id": "<1@example.com>",
      "storage_ref": ref,
      "smtp_utf8": false,
      "eight_bit": false,
      count: 2,
      recipients: "one@example.net failed restored, two@example.net failed restored",
    },
    {
      ...dead,
      id: odd.id,
      subject: null,
      "header_from": null,
      "rfc_message_id": null,
      "storage_ref": odd.ref,
      "smtp_utf8": true,
      "eight_bit": true,
      count: 1,
      recipients: "jürgen@example.net failed restored",
    },
  ]);
  assert.deepEqual(await room.replay(), { written: 0, known: 3, troubles: 0, told: [] });
  const [forced] = await room.owner.run(`select bool_and(relforcerowsecurity) as is_forced from pg_class
    where relname in ('messages', 'recipients', 'groups', 'users')`);
  assert.equal(forced?.["is_forced"], true);
});

Deno.test("replay() tells of a body that is damaged or nobody's, and goes on with the others", async () => {
  await using room = await Room.open();
  const damaged = await room.keep();
  const large = await room.keep({}, text + "x".repeat(2_000_000));
  for (const { ref } of [damaged, large]) {
    const place = placeOf(ref);
    assert.ok(place);
    await using file = await Deno.open(join(room.folder, "messages", place.path), { write: true });
    await file.seek(place.offset + place.size - 1, Deno.SeekMode.Start);
    await file.write(encoder.encode("!"));
  }
  const stranger = await room.keep({ group: newId<GroupId>() });
  const nobody = await room.keep({ user: newId<UserId>() });
  const good = await room.keep();
  const { told, ...sums } = await room.replay();
  assert.deepEqual(sums, { written: 1, known: 0, troubles: 4 });
  const expected = [
    [damaged.id, /its body in .* is damaged$/],
    [large.id, /its body in .* is damaged$/],
    [stranger.id, /its group is not in the database$/],
    [nobody.id, /its account is not in the database$/],
  ] as const;
  for (const [id, sentence] of expected) {
    assert.match(told.find((one) => one.includes(id)) ?? "", sentence);
  }
  assert.deepEqual((await room.rows()).map((row) => row["id"]), [good.id]);
});

Deno.test("replay() tells of a segment that has bodies behind damage, and of a message that no table takes", async () => {
  await using room = await Room.open();
  const [first, second] = [await room.keep(), await room.keep()];
  const place = placeOf(first.ref);
  assert.ok(place && placeOf(second.ref)?.path === place.path);
  await using file = await Deno.open(join(room.folder, "messages", place.path), { write: true });
  await file.seek(place.offset - 10, Deno.SeekMode.Start);
  await file.write(encoder.encode("!!!!!"));
  // Of a year for which there is no week.
  const future = "04000000-0000-7000-8000-000000000000" as MessageId;
  const alone = await room.keep({ id: future }, text + "x".repeat(2_000_000));
  const good = await room.keep({}, text + "y".repeat(2_000_000));
  const { told, ...sums } = await room.replay();
  assert.deepEqual(sums, { written: 1, known: 0, troubles: 2 });
  assert.ok(told.some((one) => one.startsWith(`segment ${place.path}: damaged`)), String(told));
  assert.ok(told.some((one) => one.startsWith(`message ${alone.id}: `)), String(told));
  assert.deepEqual((await room.rows()).map((row) => row["id"]), [good.id]);
});

Deno.test("spool replay says what it did, with the permissions of its task, and ends with 1 when something is left", async () => {
  await using room = await Room.open();
  await room.keep();
  const variables = {
    SMTP_PROXY_DATABASE_OWNER_URL: room.database.ownerUrl,
    SMTP_PROXY_STORAGE_PATH: join(room.folder, "messages"),
  };
  const run = (...args: readonly string[]) => runProgram("spool", args, variables, room.folder);
  const dry = await run("replay", "--dry-run");
  assert.deepEqual(
    [dry.code, dry.stdout],
    [0, "1 would be made dead letters; 0 have their rows\n"],
    dry.stderr,
  );
  const wet = await run("replay");
  assert.deepEqual([wet.code, wet.stdout], [0, "1 made dead letters; 0 have their rows\n"], wet.stderr);
  await room.keep({ group: newId<GroupId>() });
  const left = await run("replay");
  assert.deepEqual([left.code, left.stdout], [1, "0 made dead letters; 1 have their rows\n"]);
  assert.match(left.stderr, /its group is not in the database\n1 could not be replayed\n$/);
  await Deno.remove(join(room.folder, "messages", "FORMAT"));
  assert.equal((await run("replay")).code, 1);
});

Deno.test("spool replay and migrate hold do nothing while a service is connected, of this database alone", async () => {
  await using room = await Room.open();
  await room.keep();
  const variables = {
    SMTP_PROXY_DATABASE_OWNER_URL: room.database.ownerUrl,
    SMTP_PROXY_STORAGE_PATH: join(room.folder, "messages"),
  };
  const run = (name: "spool" | "migrate", ...args: readonly string[]) =>
    runProgram(name, args, variables, room.folder);
  await using other = await testDatabase();
  await using _elsewhere = await openSession({ url: other.ownerUrl, applicationName: "queue-worker" });
  const url = room.database.urlFor("smtp_proxy_intake");
  {
    await using _service = await openSession({
      url,
      role: "smtp_proxy_intake",
      applicationName: "smtp-server",
    });
    const refused = await Promise.all([
      run("spool", "replay"),
      run("migrate", "hold", "--older-than", "2026-01-31T23:00:00Z"),
    ]);
    for (const { code, stderr } of refused) {
      assert.equal(code, 1);
      assert.match(stderr, /^Cannot touch rows of all groups while services run: stop smtp-server first$/m);
    }
    assert.deepEqual(await room.rows(), []);
  }
  // PostgreSQL takes a moment to notice that a client has gone.
  const connected =
    "select from pg_stat_activity where datname = current_database() and application_name = 'smtp-server'";
  while ((await room.owner.run(connected)).length > 0) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal((await run("spool", "replay")).stdout, "1 made dead letters; 0 have their rows\n");
});
