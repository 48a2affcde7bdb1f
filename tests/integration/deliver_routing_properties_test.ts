import assert from "node:assert/strict";
import fc from "fast-check";
import type { EspKind } from "../../lib/esp/esp.ts";
import { simulator } from "../../lib/esp/simulator.ts";
import type { MessageId, ProviderId } from "../../lib/ids.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";

const kinds = ["anybody", "bounce", "defer+2", "down+1", "down+9", "throttle", "credentials"];
const domains = ["a.example", "b.example", "c.example", "d.example"];
const names = ["first", "second", "third"];

/** The simulator under a name of its own, with everybody it was asked for noted. */
function watched(name: string, limit: number, asked: string[]): EspKind<unknown> {
  return {
    ...simulator,
    name,
    open(_settings, io) {
      const esp = simulator.open(simulator.settings.parse({ recipients: limit }), io);
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

/** For each of three domains the providers of its rule, by number; the fourth has none and goes by the oldest. */
const lists = fc.tuple(...Array.from({ length: 3 }, () => fc.shuffledSubarray([0, 1, 2], { minLength: 1 })));

async function writeRules(
  room: DeliveryRoom,
  providers: readonly ProviderId[],
  wanted: readonly (readonly number[])[],
): Promise<readonly string[]> {
  const { group } = room.account;
  await room.owner.run("delete from routing_rules");
  const ids: string[] = [];
  for (const [index, list] of wanted.entries()) {
    const id = crypto.randomUUID();
    ids.push(id);
    await room.owner.query(
      "insert into routing_rules (id, group_id, priority, conditions) values ($1, $2, $3, $4)",
      [id, group, index, JSON.stringify({ "recipient_domain": domains[index] })],
    );
    for (const [position, number] of list.entries()) {
      await room.owner.query(
        "insert into routing_rule_providers (group_id, rule_id, position, provider_id) values ($1, $2, $3, $4)",
        [group, id, position + 1, providers[number]],
      );
    }
  }
  return ids;
}

/** The database's time before a step: what the step makes of it can be told however late one looks. */
async function clockOf(room: DeliveryRoom): Promise<string> {
  const [row] = await room.owner.query("select clock_timestamp()::text as at", []);
  return String(row?.["at"]);
}

/** How many recipients wait for a time that is later than a moment. */
async function waitingBeyond(room: DeliveryRoom, id: MessageId, moment: string): Promise<number> {
  const found = await room.owner.query(
    "select from recipients where message_id = $1 and status = 'pending' and next_attempt_at > $2::timestamptz",
    [id, moment],
  );
  return found.length;
}

Deno.test("deliver() keeps every recipient to the providers of its rule, and loses none", async () => {
  await using room = await DeliveryRoom.open();
  const providers: ProviderId[] = [];
  for (const name of names) providers.push(await room.provider(name, {}));
  const recipients = fc.array(
    fc.record({ kind: fc.constantFrom(...kinds), domain: fc.integer({ min: 0, max: 3 }) }),
    { minLength: 1, maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(
      recipients,
      lists,
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 4 }),
      async (to, wanted, limit, rounds) => {
        await room.owner.run("delete from provider_state");
        const rules = await writeRules(room, providers, wanted);
        const asked: string[][] = names.map(() => []);
        await using crew = room.crew({
          kinds: names.map((name, index) => watched(name, limit, asked[index] ?? [])),
        });
        const routeOf = (domain: number) => wanted[domain] ?? [0];
        const envelope = to.map(({ kind, domain }, index) =>
          `${kind}${kind.includes("+") ? "" : "+0"}+${index}@${domains[domain]}`
        );
        const id = await room.submit(envelope);
        for (let round = 1; round <= rounds; round++) {
          const before = await room.recipientsOf(id);
          for (const list of asked) list.length = 0;
          await room.makeDue(id);
          const began = await clockOf(room);
          await room.deliver(id, crew);
          const after = await room.recipientsOf(id);
          for (const [index, address] of envelope.entries()) {
            const route = routeOf(to[index]?.domain ?? 3);
            const by = names.flatMap((_, number) =>
              (asked[number] ?? []).filter((one) => one === address).map(() => number)
            );
            assert.equal(new Set(by).size, by.length, `${address} was asked for twice at one provider`);
            assert.ok(by.every((number) => route.includes(number)), `${address} went to ${by} by ${route}`);
            const state = before[index];
            if (state?.status !== "pending") {
              assert.deepEqual([after[index], by], [state, []]);
            } else if (by.length === 0) {
              assert.deepEqual([after[index]?.status, after[index]?.attempts], ["pending", state.attempts]);
            }
          }
          const pending = after.filter(({ status }) => status === "pending");
          assert.equal(
            await waitingBeyond(room, id, began),
            pending.length,
            "whoever waits, waits for a time",
          );
          assert.equal(await room.statusOf(id) === "queued", pending.length > 0);
        }
        for (const log of await room.logsOf(id)) {
          assert.notEqual(log["status"], "started");
          const [position = 0] = log["recipients"] as number[];
          const { domain = 3 } = to[position - 1] ?? {};
          const provider = providers.indexOf(log["provider_id"] as ProviderId);
          const routing = { "rule_id": rules[domain], position: routeOf(domain).indexOf(provider) + 1 };
          assert.deepEqual(log["metadata"], domain === 3 ? null : { routing });
        }
      },
    ),
    { numRuns: 30 },
  );
});
