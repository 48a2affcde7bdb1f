import assert from "node:assert/strict";
import fc from "fast-check";
import type { EspKind } from "../../lib/esp/esp.ts";
import { simulator } from "../../lib/esp/simulator.ts";
import { DeliveryRoom, type RecipientState } from "../support/delivery_room.ts";

interface Plan {
  readonly kind: string;
  /** Attempts that fail first, for `defer` and `down`. */
  readonly failures: number;
}

/** The simulator as its provider, with every call's addresses noted in order. */
function watchedSimulator(limit: number, calls: string[][]): EspKind<unknown> {
  return {
    ...simulator,
    open(_settings, io) {
      const esp = simulator.open(simulator.settings.parse({ recipients: limit }), io);
      return {
        limits: esp.limits,
        smtpUtf8: esp.smtpUtf8,
        deliver(parcel, signal) {
          calls.push(parcel.recipients.map(({ address }) => address));
          return esp.deliver(parcel, signal);
        },
        check: (signal) => esp.check(signal),
        [Symbol.asyncDispose]: () => esp[Symbol.asyncDispose](),
      };
    },
  };
}

function addressOf({ kind, failures }: Plan, index: number): string {
  return `${kind}+${failures}+${index}@example.net`;
}

function plansOf(kinds: readonly string[]) {
  const plan = fc.record({ kind: fc.constantFrom(...kinds), failures: fc.integer({ min: 0, max: 7 }) });
  return fc.array(plan, { minLength: 1, maxLength: 12 });
}

/** What one recipient has become after so many rounds, each of which found it due. */
function expectedAfter(rounds: number, { kind, failures }: Plan, unknown: "retry" | "hold"): string {
  const fails = kind === "defer" || (kind === "unknown" && unknown === "retry");
  if (kind === "bounce") return "refused 1";
  if (kind === "unknown" && unknown === "hold") return "unknown 1";
  if (!fails || (kind === "defer" && failures === 0)) return "accepted 1";
  const succeedsAt = kind === "defer" ? failures + 1 : Infinity;
  if (succeedsAt <= Math.min(rounds, 6)) return `accepted ${succeedsAt}`;
  return rounds >= 6 ? "failed 6" : `pending ${rounds}`;
}

const isFinal = ({ status }: RecipientState) => status !== "pending";

Deno.test("deliver() makes of each recipient what its ESP says, whatever the others and the parcels are", async () => {
  await using room = await DeliveryRoom.open();
  const provider = await room.provider("simulator", {});
  await fc.assert(
    fc.asyncProperty(
      plansOf(["anybody", "bounce", "defer", "unknown"]),
      fc.integer({ min: 1, max: 13 }),
      fc.integer({ min: 1, max: 7 }),
      fc.constantFrom("retry", "hold"),
      async (plans, limit, rounds, unknown) => {
        fc.pre(plans.filter(({ kind }) => kind === "unknown").length < 5);
        await room.owner.query("update esp_providers set settings = $1 where id = $2", [
          JSON.stringify({ unknown }),
          provider,
        ]);
        const calls: string[][] = [];
        const id = await room.submit(plans.map(addressOf));
        for (let round = 1; round <= rounds; round++) {
          // A crew of its own for each round: breakers are closed, and fewer failures than open one.
          await using crew = room.crew({ kinds: [watchedSimulator(limit, calls)] });
          await room.makeDue(id);
          await room.deliver(id, crew);
        }
        const states = (await room.recipientsOf(id)).map(({ status, attempts }) => `${status} ${attempts}`);
        assert.deepEqual(states, plans.map((plan) => expectedAfter(rounds, plan, unknown)));
        assert.ok(calls.every((addresses) => addresses.length <= limit));
        const bad = states.some((state) => /refused|unknown|failed/.test(state));
        const message = states.some((state) => state.startsWith("pending"))
          ? "queued"
          : bad
          ? "failed"
          : "delivered";
        assert.equal((await room.statusOf(id)).split("/")[0], message);
        const asked = plans.map((plan, index) =>
          calls.flat().filter((one) => one === addressOf(plan, index)).length
        );
        assert.deepEqual(asked, states.map((state) => Number(state.split(" ")[1])));
      },
    ),
    { numRuns: 30 },
  );
});

Deno.test("deliver() loses no recipient and calls again for those still pending alone", async () => {
  await using room = await DeliveryRoom.open();
  await room.rule([await room.provider("simulator", {}), await room.provider("fallback", {})]);
  const kinds = [
    "anybody",
    "bounce",
    "defer",
    "down",
    "timeout",
    "throttle",
    "credentials",
    "configuration",
    "unknown",
  ];
  await fc.assert(
    fc.asyncProperty(
      plansOf(kinds),
      fc.tuple(fc.integer({ min: 1, max: 13 }), fc.integer({ min: 1, max: 13 })),
      fc.integer({ min: 1, max: 4 }),
      async (plans, limits, rounds) => {
        await room.owner.run("delete from provider_state");
        const calls: string[][][] = [[], []];
        await using crew = room.crew({
          terms: { callTimeoutMs: 20 },
          kinds: limits.map((limit, index) => ({
            ...watchedSimulator(limit, calls[index] ?? []),
            name: index === 0 ? "simulator" : "fallback",
          })),
        });
        const envelope = plans.map(addressOf);
        const id = await room.submit(envelope);
        for (let round = 1; round <= rounds; round++) {
          const before = await room.recipientsOf(id);
          for (const list of calls) list.length = 0;
          await room.makeDue(id);
          await room.deliver(id, crew);
          const after = await room.recipientsOf(id);
          assert.equal(after.length, envelope.length);
          for (const list of calls) {
            const asked = list.flat();
            assert.equal(new Set(asked).size, asked.length, "nobody is asked for twice at one provider");
            for (const address of asked) {
              const state = before[envelope.indexOf(address)];
              assert.ok(state !== undefined && !isFinal(state), `${address} was ${state?.status}`);
            }
          }
          for (const [index, state] of before.entries()) {
            if (isFinal(state)) assert.deepEqual(after[index], state);
          }
          for (const { status } of after) assert.match(status, /^(accepted|refused|pending|failed)$/);
          const pending = after.filter(({ status }) => status === "pending").length;
          assert.equal(await room.statusOf(id) === "queued", pending > 0);
        }
        const logged = await room.logsOf(id);
        assert.ok(logged.every(({ status }) => status !== "started"));
      },
    ),
    { numRuns: 30 },
  );
});
