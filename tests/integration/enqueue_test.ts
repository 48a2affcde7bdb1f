import assert from "node:assert/strict";
import { type MessageId, newId } from "../../lib/ids.ts";
import { claimMessages } from "../../lib/messages/claims_table.ts";
import { findStored } from "../../lib/messages/messages_table.ts";
import { type Database, openDatabase, openSession } from "../../lib/postgres/database.ts";
import { openPostgresQueue } from "../../lib/queue/postgres_queue.ts";
import type { Queue } from "../../lib/queue/queue.ts";
import { Refusal } from "../../lib/refusal.ts";
import { accept } from "../../services/smtp-server/accept.ts";
import { enqueue } from "../../services/smtp-server/enqueue.ts";
import { recordMessage } from "../../services/smtp-server/record_message.ts";
import { refusalReply } from "../../services/smtp-server/replies.ts";
import { Resubmissions } from "../../services/smtp-server/resubmissions.ts";
import { losingDatabase } from "../support/losing_database.ts";
import { testDatabase } from "../support/postgres.ts";
import { makeAccount, submissionOf } from "../support/submissions.ts";

const hour = 3_600_000;

/** An smtp-server from row to doorbell, with a queue that can be closed, and waits that a test can fill. */
async function openScene() {
  await using stack = new AsyncDisposableStack();
  const test = stack.use(await testDatabase());
  const open = (role: "smtp_proxy_intake" | "smtp_proxy_worker") =>
    stack.use(openDatabase({ url: test.urlFor(role), role }));
  const [intake, worker] = [open("smtp_proxy_intake"), open("smtp_proxy_worker")];
  const queue = stack.use(openPostgresQueue({ database: intake, timeoutMs: 60_000 }));
  const closed = openPostgresQueue({ database: intake });
  await closed[Symbol.asyncDispose]();
  const account = await makeAccount(test.ownerUrl);
  const first = submissionOf(account, { headers: { messageId: "<1@example.com>" } });
  const told: string[] = [];
  const state = { isDown: false, whileWaiting: (_ms: number): void | Promise<void> => {} };
  const push: Queue["push"] = (bells) => {
    told.push("try");
    return (state.isDown ? closed : queue).push(bells);
  };
  const server = (database: Database = intake) => {
    const parts = {
      storeBody: () => Promise.resolve({ storageRef: "local:a#0+1" as const }),
      record: recordMessage({ database: intake, resubmissionWindowMs: hour }),
      enqueue: enqueue({
        queue: { push },
        database,
        sleep: async (ms) => {
          told.push(`${ms} ms`);
          await state.whileWaiting(ms);
        },
        onResult: (rang) => told.push(rang ? "rang" : "gave up"),
      }),
      resubmissions: new Resubmissions(hour),
    };
    return (submission = first) => accept(submission, parts);
  };
  const held = stack.move();
  return {
    intake,
    worker,
    first,
    told,
    state,
    server,
    status: async () => (await findStored(intake.system, [first.id])).get(first.id),
    charged: async () => {
      await using session = await openSession({ url: test.ownerUrl });
      // Of all months, since one may end while this runs.
      return (await session.run("select sum(messages)::int as messages from usage"))[0]?.["messages"];
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** What the client is told. */
async function replyOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "250";
  } catch (error) {
    assert.ok(error instanceof Refusal);
    const { reply } = refusalReply(error);
    return `${reply.code} ${reply.enhanced}`;
  }
}

const fourTries = ["try", "500 ms", "try", "1000 ms", "try", "2000 ms", "try"];

Deno.test("enqueue() tries four times, then gives the row and its charge up and says to come again", async () => {
  await using scene = await openScene();
  scene.state.isDown = true;
  assert.equal(await replyOf(scene.server()()), "451 4.3.0");
  assert.deepEqual(scene.told, [...fourTries, "gave up"]);
  assert.deepEqual([await scene.status(), await scene.charged()], ["enqueue_failed", 0]);
  scene.state.isDown = false;
  assert.equal(await scene.server()({ ...scene.first, id: newId<MessageId>() }), scene.first.id);
  assert.deepEqual([await scene.status(), await scene.charged()], ["queued", 1]);
});

Deno.test("enqueue() rings once for a queue that comes back between two tries", async () => {
  await using scene = await openScene();
  scene.state.isDown = true;
  scene.state.whileWaiting = (ms) => void (scene.state.isDown = ms < 1_000);
  assert.equal(await replyOf(scene.server()()), "250");
  assert.deepEqual(scene.told, ["try", "500 ms", "try", "1000 ms", "try", "rang"]);
  assert.equal(await scene.status(), "queued");
});

Deno.test("enqueue() takes the message when a worker has had it meanwhile", async () => {
  await using scene = await openScene();
  scene.state.isDown = true;
  scene.state.whileWaiting = async (ms) => {
    const claimant = { holder: "test/1", held: [], leaseMs: 60_000 };
    if (ms === 2_000) await claimMessages(scene.worker.system, [scene.first.id], claimant);
  };
  assert.equal(await replyOf(scene.server()()), "250");
  assert.deepEqual(scene.told, [...fourTries, "gave up"]);
  assert.deepEqual([await scene.status(), await scene.charged()], ["processing", 1]);
});

Deno.test("enqueue() says to come again when the row cannot be given up, which stays queued", async () => {
  await using scene = await openScene();
  scene.state.isDown = true;
  const unwritable = losingDatabase(scene.intake, () => "never sent");
  assert.equal(await replyOf(scene.server(unwritable)()), "451 4.3.0");
  assert.deepEqual([await scene.status(), await scene.charged()], ["queued", 1]);
});

Deno.test("a message that was answered with 250 stays queued when a resubmission cannot ring for it", async () => {
  await using scene = await openScene();
  assert.equal(await replyOf(scene.server()()), "250");
  scene.state.isDown = true;
  // Another process, which knows nothing of the first.
  assert.equal(await replyOf(scene.server()({ ...scene.first, id: newId<MessageId>() })), "451 4.3.0");
  assert.deepEqual([await scene.status(), await scene.charged()], ["queued", 1]);
});

Deno.test("a message whose resubmission was answered with 250 stays queued when its first sender cannot ring", async () => {
  await using scene = await openScene();
  scene.state.isDown = true;
  const replies: string[] = [];
  scene.state.whileWaiting = async (ms) => {
    if (ms !== 2_000) return;
    scene.state.isDown = false;
    replies.push(await replyOf(scene.server()({ ...scene.first, id: newId<MessageId>() })));
    scene.state.isDown = true;
  };
  replies.push(await replyOf(scene.server()()));
  assert.deepEqual(replies, ["250", "451 4.3.0"]);
  assert.deepEqual([await scene.status(), await scene.charged()], ["queued", 1]);
});
