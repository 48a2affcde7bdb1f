import assert from "node:assert/strict";
import type { ProviderId } from "../ids.ts";
import { planRoute } from "./route.ts";
import type { RoutingRule } from "./routing_rule.ts";

const ids = ["p1", "p2", "p3", "p4"] as ProviderId[];
const all = ids.map((id) => ({ id, enabled: true }));

function rule(providers: readonly ProviderId[], changes: Partial<RoutingRule> = {}): RoutingRule {
  return { id: "r", priority: 0, conditions: {}, providers, ...changes };
}

function names(route: readonly { readonly id: ProviderId }[]): readonly string[] {
  return route.map(({ id }) => id);
}

Deno.test("planRoute() takes the oldest enabled provider alone where no rule is", () => {
  assert.deepEqual(names(planRoute([], all)), ["p1"]);
  const [first, ...others] = all;
  assert.ok(first);
  assert.deepEqual(names(planRoute([], [{ ...first, enabled: false }, ...others])), ["p2"]);
});

Deno.test("planRoute() answers nobody where every provider is disabled or there is none", () => {
  assert.deepEqual(planRoute([], []), []);
  assert.deepEqual(planRoute([], all.map((provider) => ({ ...provider, enabled: false }))), []);
});

Deno.test("planRoute() follows the rule with the lowest priority number, three providers at most", () => {
  const rules = [rule(["p1"] as ProviderId[], { priority: 5 }), rule(ids.toReversed(), { priority: 1 })];
  assert.deepEqual(names(planRoute(rules, all)), ["p4", "p3", "p2"]);
});

Deno.test("planRoute() leaves out disabled providers of a rule, and waits when none is left", () => {
  const some = all.map((provider) => ({ ...provider, enabled: provider.id !== "p2" }));
  assert.deepEqual(names(planRoute([rule(["p2", "p3"] as ProviderId[])], some)), ["p3"]);
  assert.deepEqual(planRoute([rule(["p2"] as ProviderId[])], some), []);
});

Deno.test("planRoute() passes over rules whose conditions nobody understands yet", () => {
  const rules = [rule(["p2"] as ProviderId[], { conditions: { sender: "x" } })];
  assert.deepEqual(names(planRoute(rules, all)), ["p1"]);
});
