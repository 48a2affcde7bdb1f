import assert from "node:assert/strict";
import type { ProviderId } from "../ids.ts";
import { explainRoute } from "./explain.ts";
import type { MessageFacts } from "./message_facts.ts";
import { planRoute, routingOf } from "./route.ts";
import type { RoutingRule } from "./routing_rule.ts";

const providers = ["p1", "p2"].map((id) => ({ id: id as ProviderId, enabled: true }));
const facts: MessageFacts = { id: "m", sender: "a@example.com", size: 10, now: new Date() };

function rule(id: string, conditions: Record<string, unknown>, priority = 0): RoutingRule {
  return { id, priority, conditions, providers: [{ id: "p2" as ProviderId, weight: null }] };
}

Deno.test("explainRoute() says of every rule whether it decided and why not", () => {
  const routing = routingOf([
    rule("a", { sender: "other.example", size: { min: 1 } }),
    rule("b", { recipient_domain: "example.org" }),
    rule("c", { recipient_domain: "example.net" }, 1),
    rule("d", {}, 2),
    rule("e", { phase_of_moon: "new" }),
  ], providers);
  const explained = explainRoute(routing, facts, "x@Example.NET");
  assert.deepEqual(explained.rules.map(({ rule, result }) => [rule.id, result]), [
    ["a", "not_matched"],
    ["b", "not_matched"],
    ["c", "matched"],
    ["d", "not_asked"],
    ["e", "skipped"],
  ]);
  assert.equal(explained.rule?.id, "c");
  assert.deepEqual(explained.route.map(({ id }) => id), ["p2"]);
  assert.deepEqual(explained.rules[0]?.conditions, [
    { condition: "sender", isMet: false, actual: "a@example.com" },
    { condition: "size", isMet: true, actual: 10 },
  ]);
  assert.deepEqual(explained.rules[1]?.conditions, [
    { condition: "recipient_domain", isMet: false, actual: "example.net" },
  ]);
});

Deno.test("explainRoute() answers no route where a fact is missing that decides", () => {
  const routing = routingOf([rule("a", { attachment: true }), rule("b", {}, 1)], providers);
  const explained = explainRoute(routing, facts, "x@example.net");
  assert.equal(explained.isUnknown, true);
  assert.deepEqual(explained.route, []);
  assert.deepEqual(explained.rules.map(({ result }) => result), ["unknown", "not_asked"]);
  const other = routingOf([rule("a", { attachment: true, size: { min: 11 } })], providers);
  const decided = explainRoute(other, facts, "x@example.net");
  assert.deepEqual([decided.isUnknown, decided.route.map(({ id }) => id)], [false, ["p1"]]);
});

Deno.test("explainRoute() explains the route that planRoute() plans", () => {
  const routing = routingOf([
    rule("a", { recipient_domain: "*.example" }),
    rule("b", { percentage: 50 }, 1),
  ], providers);
  for (let time = 0; time < 100; time++) {
    const asked = { ...facts, id: `m${time}` };
    for (const address of ["x@a.example", "x@example.net"]) {
      const [leg] = planRoute(routing, asked, [{ address }]);
      const explained = explainRoute(routing, asked, address);
      assert.deepEqual([explained.rule?.id, explained.route], [leg?.rule?.id, leg?.route]);
    }
  }
});
