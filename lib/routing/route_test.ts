import assert from "node:assert/strict";
import fc from "fast-check";
import { type MessageId, newId, type ProviderId } from "../ids.ts";
import type { MessageFacts } from "./message_facts.ts";
import { planRoute, routingOf } from "./route.ts";
import type { RoutingRule } from "./routing_rule.ts";

const ids = ["p1", "p2", "p3", "p4"] as ProviderId[];
const all = ids.map((id) => ({ id, enabled: true }));
const facts: MessageFacts = { id: "m", sender: "a@example.com", size: 1000, now: new Date() };
const one = { address: "one@example.net" };

let made = 0;
function rule(providers: readonly string[], changes: Partial<RoutingRule> = {}): RoutingRule {
  const named = providers.map((id) => ({ id: id as ProviderId, weight: null }));
  return { id: `r${++made}`, priority: 0, conditions: {}, providers: named, ...changes };
}

function routeFor(
  rules: readonly RoutingRule[],
  providers: readonly { readonly id: ProviderId; readonly enabled: boolean }[],
  asked = facts,
): readonly string[] {
  const [leg, ...more] = planRoute(routingOf(rules, providers), asked, [one]);
  assert.deepEqual(more, []);
  return leg?.route.map(({ id }) => id) ?? [];
}

Deno.test("planRoute() takes the oldest enabled provider alone where no rule is", () => {
  assert.deepEqual(routeFor([], all), ["p1"]);
  const [first, ...others] = all;
  assert.ok(first);
  assert.deepEqual(routeFor([], [{ ...first, enabled: false }, ...others]), ["p2"]);
});

Deno.test("planRoute() answers nobody where every provider is disabled or there is none", () => {
  assert.deepEqual(routeFor([], []), []);
  assert.deepEqual(routeFor([], all.map((provider) => ({ ...provider, enabled: false }))), []);
});

Deno.test("planRoute() follows the rule with the lowest priority number, three providers at most", () => {
  const rules = [rule(["p1"], { priority: 5 }), rule(ids.toReversed(), { priority: 1 })];
  assert.deepEqual(routeFor(rules, all), ["p4", "p3", "p2"]);
});

Deno.test("planRoute() leaves out disabled providers of a rule, and waits when none is left", () => {
  const some = all.map((provider) => ({ ...provider, enabled: provider.id !== "p2" }));
  assert.deepEqual(routeFor([rule(["p2", "p3"])], some), ["p3"]);
  assert.deepEqual(routeFor([rule(["p2"])], some), []);
});

Deno.test("planRoute() passes over rules whose conditions nobody understands yet", () => {
  const routing = routingOf([rule(["p2"], { conditions: { phase_of_moon: "new" } })], all);
  assert.equal(routing.skipped.length, 1);
  assert.deepEqual(planRoute(routing, facts, [one])[0]?.route, [all[0]]);
});

const known: MessageFacts = {
  id: "019aa7e4-6f00-7000-8000-000000000000",
  sender: "News@Shop.Example.com",
  account: "019aa7e4-6f00-7000-8000-00000000000a",
  size: 5000,
  now: new Date("2026-01-05T08:30:00Z"), // a Monday
  from: ["team@example.org", "second@bücher.example"],
  subject: "Your invoice 17",
  fields: new Map([["x-campaign", ["spring", "summer sale"]], ["x-empty", [""]]]),
  hasAttachment: true,
};

const cases: readonly (readonly [conditions: Record<string, unknown>, isMet: boolean])[] = [
  [{}, true],
  [{ sender: "news@shop.example.com" }, true],
  [{ sender: "shop.example.com" }, true],
  [{ sender: "*.example.com" }, true],
  [{ sender: "example.com" }, false],
  [{ sender: "*@example.com" }, false],
  [{ sender: "n*s@*.com" }, true],
  [{ sender: "<>" }, false],
  [{ sender: ["other.example", "*@shop.example.com"] }, true],
  [{ header_from: "second@xn--bcher-kva.example" }, true],
  [{ header_from: "bücher.example" }, true],
  [{ header_from: "shop.example.com" }, false],
  [{ recipient_domain: "EXAMPLE.net" }, true],
  [{ recipient_domain: "*.net" }, true],
  [{ recipient_domain: "*.example.net" }, false],
  [{ smtp_account: "019AA7E4-6F00-7000-8000-00000000000A" }, true],
  [{ smtp_account: "019aa7e4-6f00-7000-8000-00000000000b" }, false],
  [{ header: { name: "X-Campaign" } }, true],
  [{ header: { name: "x-empty" } }, true],
  [{ header: { name: "X-Other" } }, false],
  [{ header: { name: "X-Campaign", matches: "summer*" } }, true],
  [{ header: { name: "X-Campaign", matches: "summer" } }, false],
  [{ header: [{ name: "X-Campaign" }, { name: "X-Other" }] }, false],
  [{ subject: "*INVOICE*" }, true],
  [{ subject: "invoice" }, false],
  [{ size: { min: 5000, max: 5000 } }, true],
  [{ size: { max: 4999 } }, false],
  [{ attachment: true }, true],
  [{ attachment: false }, false],
  [{ time: { zone: "Europe/Berlin", days: ["mon"], from: "09:00", to: "10:00" } }, true],
  [{ time: { zone: "UTC", days: ["mon"], from: "09:00", to: "10:00" } }, false],
  [{ time: { zone: "UTC", days: ["sun"], from: "22:00", to: "09:00" } }, true],
  [{ percentage: 100 }, true],
  [{ percentage: 0 }, false],
  [{ sender: "*.example.com", attachment: true, size: { min: 1 } }, true],
  [{ sender: "*.example.com", attachment: false, size: { min: 1 } }, false],
];

Deno.test("planRoute() asks every condition of a rule, and all of them have to hold", () => {
  for (const [conditions, isMet] of cases) {
    const route = routeFor([rule(["p2"], { conditions })], all, known);
    assert.deepEqual(route, [isMet ? "p2" : "p1"], JSON.stringify(conditions));
  }
});

Deno.test("routingOf() says how far a message must be read, and no further than its rules ask", () => {
  const reading = (...conditions: Record<string, unknown>[]) =>
    routingOf(conditions.map((one) => rule(["p1"], { conditions: one })), all).reading;
  assert.equal(reading(), "envelope");
  assert.equal(
    reading({ sender: "a.b", recipient_domain: "c.d", size: { min: 1 }, percentage: 5 }),
    "envelope",
  );
  assert.equal(reading({ sender: "a.b" }, { subject: "*" }), "header");
  assert.equal(reading({ header: { name: "X-A" } }, { attachment: true }, {}), "parts");
  const { names } = routingOf([rule(["p1"], { conditions: { header: [{ name: "X-A" }] } })], all);
  assert.deepEqual([...names], ["x-a"]);
});

Deno.test("planRoute() lets exactly one rule decide for each recipient, the first that matches it", () => {
  const domains = ["a.example", "b.example", "c.example", "d.example"];
  const conditions = fc.record({
    recipient_domain: fc.subarray(domains, { minLength: 1 }),
    size: fc.record({ min: fc.integer({ min: 0, max: 2000 }) }),
  }, { requiredKeys: [] });
  const rules = fc.array(
    fc.record({ priority: fc.integer({ min: 0, max: 3 }), conditions, provider: fc.constantFrom(...ids) }),
    { maxLength: 8 },
  );
  const recipients = fc.array(
    fc.record({ address: fc.constantFrom(...domains).map((domain) => `someone@${domain}`) }),
    { minLength: 1, maxLength: 20 },
  );
  fc.assert(fc.property(rules, recipients, (given, to) => {
    const wanted = given.map(({ provider, ...rest }) => rule([provider], rest));
    const legs = planRoute(routingOf(wanted, all), facts, to);
    assert.equal(legs.reduce((sum, leg) => sum + leg.recipients.length, 0), to.length);
    assert.equal(new Set(legs.map((leg) => leg.rule?.id)).size, legs.length);
    const inOrder = wanted.toSorted((a, b) => a.priority - b.priority || (a.id < b.id ? -1 : 1));
    for (const recipient of to) {
      const expected = inOrder.find(({ conditions: { recipient_domain: names, size } }) =>
        (names === undefined || (names as string[]).includes(recipient.address.split("@")[1] ?? "")) &&
        (size === undefined || 1000 >= (size as { min: number }).min)
      );
      const [leg, ...more] = legs.filter((candidate) => candidate.recipients.includes(recipient));
      assert.deepEqual(more, []);
      assert.equal(leg?.rule?.id, expected?.id);
      assert.deepEqual(leg?.route.map(({ id }) => id), [expected?.providers[0]?.id ?? "p1"]);
    }
  }));
});

Deno.test("planRoute() takes a percentage of many messages, the same ones again, and keeps them as it grows", () => {
  const many = Array.from({ length: 20_000 }, () => newId<MessageId>());
  const taken = (percentage: number) => {
    const routing = routingOf([rule(["p2"], { id: "r", conditions: { percentage } })], all);
    return new Set(
      many.filter((id) => planRoute(routing, { ...facts, id }, [one])[0]?.route[0]?.id === "p2"),
    );
  };
  const [few, again, more] = [taken(10), taken(10), taken(37.5)];
  assert.deepEqual(few, again);
  assert.ok(Math.abs(few.size - 2000) < 250, `10 % of 20,000 were ${few.size}`);
  assert.ok(Math.abs(more.size - 7500) < 400, `37.5 % of 20,000 were ${more.size}`);
  assert.ok(few.isSubsetOf(more));
});

Deno.test("planRoute() shares messages by weight, keeps a message's provider, and falls back on the others", () => {
  const weighted = rule([], {
    id: "w",
    providers: [{ id: "p1", weight: 0 }, { id: "p2", weight: 30 }, { id: "p3", weight: 10 }] as {
      id: ProviderId;
      weight: number;
    }[],
  });
  const routing = routingOf([weighted], all);
  const counts = new Map<string, number>();
  for (let time = 0; time < 10_000; time++) {
    const id = newId<MessageId>();
    const [leg] = planRoute(routing, { ...facts, id }, [one]);
    assert.deepEqual(leg, planRoute(routing, { ...facts, id }, [one])[0]);
    assert.deepEqual(leg?.route.map(({ id }) => id).sort(), ["p1", "p2", "p3"]);
    const first = leg?.route[0]?.id ?? "";
    counts.set(first, (counts.get(first) ?? 0) + 1);
  }
  assert.equal(counts.get("p1"), undefined);
  assert.ok(
    Math.abs((counts.get("p2") ?? 0) - 7500) < 300,
    `of 10,000 three quarters were ${counts.get("p2")}`,
  );
  const withoutOne = all.map((provider) => ({ ...provider, enabled: provider.id !== "p2" }));
  assert.deepEqual(routeFor([weighted], withoutOne), ["p3", "p1"]);
});
