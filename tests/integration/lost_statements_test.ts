import assert from "node:assert/strict";
import type { EspKind } from "../../lib/esp/esp.ts";
import { simulator } from "../../lib/esp/simulator.ts";
import type { MessageId } from "../../lib/ids.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { type Fate, losingDatabase } from "../support/losing_database.ts";

/** The simulator, two recipients a call, with every address that it was asked for. */
function countingSimulator(asked: string[]): EspKind<unknown> {
  return {
    ...simulator,
    open(_settings, io) {
      const esp = simulator.open(simulator.settings.parse({ recipients: 2 }), io);
      return {
        limits: esp.limits,
        smtpUtf8: esp.smtpUtf8,
        deliver(parcel, signal) {
          asked.push(...parcel.recipients.map(({ address }) => address));
          return esp.deliver(parcel, signal);
        },
        check: (signal) => esp.check(signal),
        [Symbol.asyncDispose]: () => esp[Symbol.asyncDispose](),
      };
    },
  };
}

/** The second is put off once, the third goes by a call of its own. */
const envelope = ["anybody+0+0@example.net", "defer+1+1@example.net", "anybody+0+2@example.net"];

/** Delivers to the end with one statement lost; answers how many statements were sent in all. */
async function deliverLosing(room: DeliveryRoom, id: MessageId, at: number, fate: Fate, asked: string[]) {
  let sent = 0;
  const database = losingDatabase(room.database, () => sent++ === at ? fate : "answered");
  await using crew = room.crew({ database, kinds: [countingSimulator(asked)] });
  for (let rounds = 0; await room.statusOf(id) !== "delivered"; rounds++) {
    assert.ok(rounds < 4, `it is still ${await room.statusOf(id)}`);
    await room.deliver(id, crew);
    await room.makeDue(id);
  }
  return sent;
}

Deno.test("deliver() sends once whichever statement or its answer is lost, and calls nobody's end unknown", async () => {
  await using room = await DeliveryRoom.open();
  for (const unknown of ["retry", "hold"]) {
    await room.owner.run("delete from esp_providers");
    await room.provider("simulator", { unknown });
    for (const fate of ["answer lost", "never sent"] as const) {
      let statements = Infinity;
      for (let at = 0; at < statements; at++) {
        const about = `${unknown}: statement ${at} ${fate}`;
        const asked: string[] = [];
        const id = await room.submit(envelope);
        const sent = await deliverLosing(room, id, at, fate, asked);
        if (at === 0) statements = sent;
        const [first, second, third] = envelope;
        assert.deepEqual(asked.sort(), [first, third, second, second].sort(), about);
        const logs = await room.logsOf(id);
        assert.ok(logs.every(({ status }) => status !== "started" && status !== "unknown"), about);
        assert.deepEqual((await room.recipientsOf(id)).map(({ attempts }) => attempts), [1, 2, 1], about);
      }
      assert.ok(statements > 8, `only ${statements} statements were sent`);
    }
  }
});

Deno.test("deliver() knows a call for one that was not made when its answer was lost and its lease ended meanwhile", async () => {
  await using room = await DeliveryRoom.open();
  await room.provider("simulator", { unknown: "hold" });
  const id = await room.submit(["anybody+0+0@example.net"]);
  const asked: string[] = [];
  const kinds = [countingSimulator(asked)];
  let tries = 0;
  const database = losingDatabase(room.database, async (text) => {
    if (text.includes("set claimed_until")) return "never sent"; // the claim is not renewed
    if (!/^\s*insert into delivery_logs/.test(text)) return "answered";
    tries++;
    if (tries === 1) return "answer lost";
    await room.owner.query("update messages set claimed_until = clock_timestamp() where id = $1", [id]);
    return "answered";
  });
  {
    await using crew = room.crew({ database, kinds });
    await room.deliver(id, crew);
  }
  assert.equal(tries, 2);
  assert.deepEqual(asked, []);
  assert.deepEqual((await room.logsOf(id)).map(({ status }) => status), ["failed"]);
  await using crew = room.crew({ kinds });
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.equal(asked.length, 1);
});
