import assert from "node:assert/strict";
import { parse } from "yaml";
import { type Declaration, declaredMetrics, type MetricKind } from "../lib/telemetry/metrics_declared.ts";

interface Expression {
  readonly place: string;
  readonly text: string;
}

type AnyDeclaration = Declaration<MetricKind, Record<string, readonly string[] | number>>;

const declared = Object.values(declaredMetrics).flatMap((part) =>
  Object.values(part) as readonly AnyDeclaration[]
);

/** What Prometheus itself adds. */
const targetLabels = ["job", "instance"];

/** Every series that our services show, with the labels that it has. */
const series = new Map<string, readonly string[]>([
  ["up", targetLabels],
  ...declared.flatMap(({ name, kind, labels }): readonly (readonly [string, readonly string[]])[] => {
    const own = [...Object.keys(labels), ...targetLabels];
    if (kind !== "histogram") return [[name, own]];
    return [[`${name}_bucket`, [...own, "le"]], [`${name}_sum`, own], [`${name}_count`, own]];
  }),
]);
const values = new Map<string, ReadonlySet<string>>(
  declared.flatMap(({ name, labels }) =>
    Object.entries(labels).flatMap(([label, known]): [string, ReadonlySet<string>][] =>
      typeof known === "number" ? [] : [[`${name} ${label}`, new Set(known)]]
    )
  ),
);

const words = new Set(
  "sum max min count avg by rate increase topk histogram_quantile absent time and or unless".split(" "),
);

/** What an expression asks for that nobody shows; each mistake as a sentence. */
function mistakesIn({ place, text }: Expression): readonly string[] {
  const mistakes: string[] = [];
  const asked = new Set<string>();
  for (const [, name = "", matchers = ""] of text.matchAll(/([a-z_]+)\{([^}]*)\}/g)) {
    for (const [, label = "", value = ""] of matchers.matchAll(/(\w+)=~?"([^"]*)"/g)) {
      if (series.get(name)?.includes(label) !== true) {
        mistakes.push(`${place}: ${name} has no label ${label}`);
      }
      const known = values.get(`${name} ${label}`);
      for (const one of value.split("|")) {
        if (known !== undefined && !known.has(one)) {
          mistakes.push(`${place}: ${label} of ${name} is never ${one}`);
        }
      }
    }
  }
  const bare = text.replace(/\{[^}]*\}/g, "").replace(/\[[^\]]*\]/g, "");
  const grouped = [...bare.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels = ""]) => labels.split(/, */));
  for (const [name] of bare.replace(/\bby \([^)]*\)/g, "").matchAll(/[a-z_]+/g)) {
    if (words.has(name)) continue;
    if (series.has(name)) asked.add(name);
    else mistakes.push(`${place}: there is no metric ${name}`);
  }
  if (asked.size === 0) mistakes.push(`${place}: asks for no metric`);
  for (const label of grouped) {
    const isThere = [...asked].some((name) => series.get(name)?.includes(label));
    if (!isThere) mistakes.push(`${place}: nothing has a label ${label}`);
  }
  return mistakes;
}

async function alertRules() {
  const file = parse(await Deno.readTextFile("services/operations/alerts.yaml")) as {
    readonly groups: readonly { readonly rules: readonly Record<string, unknown>[] }[];
  };
  return file.groups.flatMap(({ rules }) => rules);
}

Deno.test("every alert rule asks for metrics, labels and values that the services show", async () => {
  const rules = await alertRules();
  const mistakes = rules.flatMap(({ alert, expr }) =>
    mistakesIn({ place: String(alert), text: String(expr) })
  );
  assert.deepEqual(mistakes, []);
  assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
  for (const { alert, labels, annotations, ...others } of rules) {
    assert.match(String(alert), /^SmtpProxy[A-Za-z]+$/);
    assert.deepEqual(Object.keys(others).filter((key) => !["expr", "for"].includes(key)), []);
    assert.match((labels as Record<string, string>)["severity"] ?? "", /^(warning|critical)$/);
    assert.deepEqual(Object.keys(annotations as object), ["summary", "description"]);
  }
});

Deno.test("every panel asks for metrics and labels that the services show, and every metric has a panel or a rule", async () => {
  const dashboard = JSON.parse(await Deno.readTextFile("services/operations/grafana.json")) as {
    readonly panels: readonly {
      readonly id: number;
      readonly title: string;
      readonly type: string;
      readonly targets?: readonly { readonly expr: string }[];
    }[];
  };
  const { panels } = dashboard;
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const asked = panels.filter(({ type }) => type !== "row").flatMap(({ title, targets = [] }) => {
    assert.ok(targets.length > 0, title);
    return targets.map(({ expr }) => ({ place: title, text: expr }));
  });
  assert.deepEqual(asked.flatMap(mistakesIn), []);
  const everything = [
    ...asked.map(({ text }) => text),
    ...(await alertRules()).map(({ expr }) => String(expr)),
  ].join();
  const unseen = declared.map(({ name }) => name).filter((name) => !everything.includes(name));
  assert.deepEqual(unseen, []);
});

Deno.test("mistakesIn() finds metrics, labels and values that nobody shows", () => {
  const found = (text: string) => mistakesIn({ place: "p", text });
  assert.deepEqual(found('sum by (status) (queue_depth{status="queued"})'), []);
  assert.deepEqual(found("sum(queue_length)"), [
    "p: there is no metric queue_length",
    "p: asks for no metric",
  ]);
  assert.deepEqual(found('queue_depth{state="queued"}'), ["p: queue_depth has no label state"]);
  assert.deepEqual(found('queue_depth{status="lost"}'), ["p: status of queue_depth is never lost"]);
  assert.deepEqual(found("sum by (group) (queue_depth)"), ["p: nothing has a label group"]);
  assert.deepEqual(found("rate(api_request_duration_seconds[5m])"), [
    "p: there is no metric api_request_duration_seconds",
    "p: asks for no metric",
  ]);
});
