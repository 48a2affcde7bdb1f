import assert from "node:assert/strict";
import type { Esp, EspKind, Parcel } from "../../lib/esp/esp.ts";
import { simulator } from "../../lib/esp/simulator.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";

/** The simulator under a name of its own with other limits, telling of every parcel it is given. */
function simulatorLike(
  name: string,
  changes: Partial<Esp>,
  onParcel: (parcel: Parcel) => void | Promise<void>,
): EspKind<unknown> {
  return {
    ...simulator,
    name,
    open(_settings, io) {
      const esp = simulator.open(simulator.settings.parse({}), io);
      return {
        limits: esp.limits,
        smtpUtf8: true,
        async deliver(parcel, signal) {
          await onParcel(parcel);
          return await esp.deliver(parcel, signal);
        },
        check: (signal) => esp.check(signal),
        [Symbol.asyncDispose]: () => esp[Symbol.asyncDispose](),
        ...changes,
      };
    },
  };
}

Deno.test("deliver() refuses what is too large for the ESP at once and says the limit", async () => {
  await using room = await DeliveryRoom.open();
  await room.provider("simulator", { bytes: 1000 });
  await using crew = room.crew();
  const id = await room.submit(["one@example.net"], `Subject: a\r\n\r\n${"x".repeat(998)}\r\n`);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "failed/refused");
  const [row] = await room.owner.query(
    "select fault_code, fault_detail from recipients where message_id = $1",
    [
      id,
    ],
  );
  assert.equal(row?.["fault_code"], "message_too_large");
  assert.match(String(row?.["fault_detail"]), /has 1014 bytes and simulator takes 1000 at most/);
  assert.deepEqual(await room.logsOf(id), []);
});

Deno.test("deliver() gives what is too large for one ESP to the next of the rule", async () => {
  await using room = await DeliveryRoom.open();
  await room.rule([await room.provider("simulator", { bytes: 1000 }), await room.provider("simulator", {})]);
  await using crew = room.crew();
  const id = await room.submit(["one@example.net"], `Subject: a\r\n\r\n${"x".repeat(998)}\r\n`);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.equal((await room.logsOf(id)).length, 1);
});

Deno.test("deliver() gives an ESP without SMTPUTF8 domains as A-labels, and refuses who needs more", async () => {
  const asked: string[] = [];
  const kinds = [simulatorLike("ascii", { smtpUtf8: false }, ({ recipients }) => {
    asked.push(...recipients.map(({ address }) => address));
  })];
  await using room = await DeliveryRoom.open();
  await room.provider("ascii", {});
  await using crew = room.crew({ kinds });
  const id = await room.submit(["j\u00fcrgen@example.net", "one@b\u00fccher.example", "two@example.net"]);
  await room.deliver(id, crew);
  assert.deepEqual(asked, ["one@xn--bcher-kva.example", "two@example.net"]);
  const states = (await room.recipientsOf(id)).map(({ status, code }) => `${status} ${code}`);
  assert.deepEqual(states, ["refused smtputf8_unsupported", "accepted null", "accepted null"]);
  assert.equal(await room.statusOf(id), "failed/refused");
});

Deno.test("deliver() keeps the ESP's id, code and words with the call", async () => {
  await using room = await DeliveryRoom.open();
  await room.provider("simulator", { recipients: 1 });
  await using crew = room.crew();
  const id = await room.submit(["one@example.net", "bounce@example.net"]);
  await room.deliver(id, crew);
  const [first, second] = await room.logsOf(id);
  assert.equal(first?.["provider_message_id"], `simulated-${first?.["id"]}`);
  assert.equal(first?.["response_code"], 250);
  assert.equal(second?.["provider_message_id"], null);
  assert.equal(second?.["response_code"], 550);
  assert.equal(second?.["esp_code"], "simulated_bounce");
  assert.equal(second?.["response_body"], "550 No such mailbox");
});

Deno.test("deliver() never holds more bodies than the memory has room for, as the ESP counts it", async () => {
  const size = 600_000;
  let now = 0;
  let most = 0;
  const kinds = [simulatorLike("gathering", { memoryPerByte: 5 }, async () => {
    most = Math.max(most, ++now);
    await new Promise((resolve) => setTimeout(resolve, 5));
    now--;
  })];
  await using room = await DeliveryRoom.open();
  await room.provider("gathering", {});
  await using crew = room.crew({ kinds, memoryBytes: 13 * size, slots: 10 });
  const ids = await Promise.all(
    Array.from(
      { length: 8 },
      () => room.submit(undefined, `Subject: a\r\n\r\n${"x\r\n".repeat(size / 3 - 6)}`),
    ),
  );
  await Promise.all(ids.map((id) => room.deliver(id, crew)));
  for (const id of ids) assert.equal(await room.statusOf(id), "delivered");
  assert.ok(most >= 1 && most <= 2, `${most} at a time`);
  assert.equal(crew.memory.used, 0);
});

Deno.test("deliver() writes files where that is allowed, and waits where it is not", async () => {
  const mailFolder = await Deno.makeTempDir({ prefix: "smtp_proxy_mail_" });
  try {
    await using room = await DeliveryRoom.open();
    await room.provider("file", { folder: "out" });
    const text = "Subject: to a file\r\n\r\ntext\r\n";
    const id = await room.submit(["one@example.net"], text);
    {
      await using crew = room.crew();
      await room.deliver(id, crew);
      const [state] = await room.recipientsOf(id);
      assert.deepEqual([state?.status, state?.attempts, state?.code], ["pending", 0, "cannot_open"]);
    }
    await room.owner.run("update provider_state set next_probe_at = now()");
    await room.makeDue(id);
    await using crew = room.crew({ io: { mailFolder } });
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), "delivered");
    const [name] = [...Deno.readDirSync(`${mailFolder}/out`)].map((file) => file.name).filter((one) =>
      one.endsWith(".eml")
    );
    assert.equal(await Deno.readTextFile(`${mailFolder}/out/${name}`), text);
  } finally {
    await Deno.remove(mailFolder, { recursive: true });
  }
});
