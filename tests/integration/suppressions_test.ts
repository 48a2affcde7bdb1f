import assert from "node:assert/strict";
import type { GroupId, MessageId } from "../../lib/ids.ts";
import { requeueMessages } from "../../lib/messages/requeue_table.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { type SinkStep, SmtpSink } from "../support/smtp_sink.ts";
import { makeAccount } from "../support/submissions.ts";

/** Answers RCPT by what the address begins with. */
function byAddress({ at, argument }: SinkStep) {
  const code = at === "RCPT" ? /<(\d{3})/.exec(argument)?.[1] : undefined;
  return code === undefined ? undefined : { reply: `${code} ${code[0]}.0.0 as the address says` };
}

async function openScene() {
  await using stack = new AsyncDisposableStack();
  const sink = stack.use(await SmtpSink.open({ script: byAddress }));
  const room = stack.use(await DeliveryRoom.open());
  await room.relay(sink.port);
  const crew = stack.use(room.crew());
  const opened = stack.move();
  return {
    sink,
    room,
    crew,
    suppress: (address: string, reason = "manual", group: GroupId = room.account.group) =>
      room.owner.query("insert into suppressions (group_id, address, reason) values ($1, $2, $3)", [
        group,
        address,
        reason,
      ]),
    statesOf: async (id: MessageId) =>
      (await room.recipientsOf(id)).map(({ status, attempts, code }) => [status, attempts, code]),
    sentTo: () => sink.mails.flatMap(({ to }) => to),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

Deno.test("deliver() sends to everybody but whom the group suppresses, and says why", async () => {
  await using scene = await openScene();
  const { room, crew } = scene;
  await scene.suppress("two@example.net", "complaint");
  const id = await room.submit(["one@example.net", "Two@example.net", "three@example.net"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.deepEqual(scene.sentTo(), ["<one@example.net>", "<three@example.net>"]);
  assert.deepEqual(await scene.statesOf(id), [
    ["accepted", 1, null],
    ["suppressed", 0, "suppressed"],
    ["accepted", 1, null],
  ]);
  const [log, ...more] = await room.logsOf(id);
  assert.deepEqual([log?.["recipients"], more], [[1, 3], []]);
  const [told] = await room.owner.query(
    "select fault_detail, failure_code, call_id from recipients where message_id = $1 and position = 2",
    [id],
  );
  assert.deepEqual(told, {
    "fault_detail": "The address is on the group's list of suppressions: complaint",
    "failure_code": null,
    "call_id": null,
  });
  assert.match(await room.metrics.text(), /delivery_suppressed_total\{[^}]*\} 1\n/);
});

Deno.test("a message whose recipients are all suppressed is delivered without a call, also with no provider", async () => {
  await using scene = await openScene();
  const { room, crew } = scene;
  await room.owner.run("delete from esp_providers");
  for (const name of ["one", "two"]) await scene.suppress(`${name}@example.net`);
  const id = await room.submit(["one@example.net", "two@example.net"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.deepEqual(await scene.statesOf(id), [["suppressed", 0, "suppressed"], [
    "suppressed",
    0,
    "suppressed",
  ]]);
  assert.deepEqual([scene.sink.mails.length, await room.logsOf(id)], [0, []]);
});

Deno.test("who is suppressed while a message waits is not tried again", async () => {
  await using scene = await openScene();
  const { room, crew } = scene;
  const id = await room.submit(["451@example.net", "one@example.net"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  await scene.suppress("451@example.net", "bounce");
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.deepEqual(await scene.statesOf(id), [["suppressed", 1, "suppressed"], ["accepted", 1, null]]);
  assert.equal((await room.logsOf(id)).length, 1);
});

Deno.test("a dead letter that is sent again is not sent to who is suppressed, before or since", async () => {
  await using scene = await openScene();
  const { room, crew } = scene;
  const { group } = room.account;
  const role = "smtp_proxy_group";
  await using database = openDatabase({ url: room.databaseOf.urlFor(role), role });
  const again = (id: MessageId) => database.forGroup(group, (sql) => requeueMessages(sql, group, [id]));
  await scene.suppress("one@example.net");
  const id = await room.submit(["one@example.net", "550@example.net", "551@example.net"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "failed/refused");
  await scene.suppress("551@example.net");
  assert.deepEqual(await again(id), [id]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "failed/refused");
  const statuses = (await room.recipientsOf(id)).map(({ status }) => status);
  assert.deepEqual(statuses, ["suppressed", "refused", "suppressed"]);
  const asked = (await room.logsOf(id)).map((log) => log["recipients"]);
  assert.deepEqual(asked, [[2, 3], [2]]);
  // Nobody is left whom it could be sent to.
  await scene.suppress("550@example.net");
  assert.deepEqual(await again(id), [id]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.deepEqual(await again(id), []);
  assert.deepEqual(scene.sentTo(), []);
});

Deno.test("a group that suppresses nobody is asked for nothing, and another's list means nothing to it", async () => {
  await using scene = await openScene();
  const { room, crew } = scene;
  const other = await makeAccount(room.databaseOf.ownerUrl);
  await scene.suppress("one@example.net", "manual", other.group);
  const count = async () =>
    Number(
      /batch_size_count\{[^}]*step="suppressions"[^}]*\} (\d+)/.exec(await room.metrics.text())?.[1] ?? 0,
    );
  const first = await room.submit(["one@example.net"]);
  await room.deliver(first, crew);
  assert.equal(await count(), 0);
  await scene.suppress("two@example.net");
  const second = await room.submit(["one@example.net"]);
  await room.deliver(second, crew);
  assert.equal(await count(), 1);
  for (const id of [first, second]) assert.equal(await room.statusOf(id), "delivered");
  assert.equal(scene.sentTo().length, 2);
});

Deno.test("a hundred messages of one moment are looked up in a few questions", async () => {
  await using scene = await openScene();
  const { room, crew } = scene;
  await scene.suppress("even@example.net");
  const ids = await Promise.all(
    Array.from(
      { length: 100 },
      (_, n) => room.submit([n % 2 === 0 ? "even@example.net" : "odd@example.net"]),
    ),
  );
  await Promise.all(ids.map((id) => room.deliver(id, crew)));
  assert.equal(scene.sentTo().length, 50);
  const text = await room.metrics.text();
  const batches = Number(/batch_size_count\{[^}]*step="suppressions"[^}]*\} (\d+)/.exec(text)?.[1]);
  assert.ok(batches <= 50, `${batches} batches`);
});
