import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { type Declaration, declaredMetrics, type LabelValues, type MetricKind } from "./metrics_declared.ts";

type AnyDeclaration = Declaration<MetricKind, Record<string, LabelValues>>;
type LabelsOf<Spec> = {
  readonly [Name in keyof Spec]: Spec[Name] extends readonly (infer Value)[] ? Value : string;
};
type Call<Spec, Value extends unknown[]> = keyof Spec extends never ? (...value: Value) => void
  : (labels: LabelsOf<Spec>, ...value: Value) => void;

/** A number that only grows. */
export interface CounterMeter<Spec> {
  /** Adds one, or as many as are named. */
  readonly add: Call<Spec, [by?: number]>;
}

/** A number that is set. */
export interface GaugeMeter<Spec> {
  readonly set: Call<Spec, [value: number]>;
  /** Adds to the present value; negative numbers take away. */
  readonly add: Call<Spec, [by: number]>;
  /** Forgets every value, so that label values that are gone are not reported any more. */
  readonly clear: () => void;
}

/** A distribution; durations are in seconds. */
export interface HistogramMeter<Spec> {
  readonly observe: Call<Spec, [value: number]>;
}

type Meter<D> = D extends Declaration<infer Kind, infer Spec> ? Kind extends "counter" ? CounterMeter<Spec>
  : Kind extends "gauge" ? GaugeMeter<Spec>
  : HistogramMeter<Spec>
  : never;
type Part<Name extends keyof typeof declaredMetrics> = {
  readonly [Metric in keyof (typeof declaredMetrics)[Name]]: Meter<(typeof declaredMetrics)[Name][Metric]>;
};

/** The metrics of one process. A part is registered when it is first named, so nobody reports another's zeros. */
export interface Metrics {
  readonly process: Part<"process">;
  readonly smtp: Part<"smtp">;
  readonly queue: Part<"queue">;
  readonly worker: Part<"worker">;
  readonly api: Part<"api">;
  readonly store: Part<"store">;
  readonly database: Part<"database">;
  /** Runs before each answer, to set gauges; one that fails or takes over two seconds is told and left out. */
  onScrape(collect: () => void | Promise<void>): void;
  /** Sets `queue_messages_pending`: the 100 groups with most pending, the others as `other` (ruling 1.18). */
  setPending(byGroup: ReadonlyMap<string, number>): void;
  /** The Prometheus text format, version 0.0.4. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** How the metrics of a process are labelled, and who is told of a collector that fails. */
export interface MetricsOptions {
  /** Labels every metric (ruling 1.15). */
  readonly instance?: number;
  readonly onCollectError?: (error: unknown) => void;
}

const collectTimeoutMs = 2000;
const pendingGroups = 100;

/** The metrics of one process, in a registry of their own. */
export function createMetrics({ instance = 0, onCollectError = () => {} }: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ instance: String(instance) });
  const parts = new Map<string, unknown>();
  const collectors: (() => void | Promise<void>)[] = [];

  function part<Name extends keyof typeof declaredMetrics>(name: Name): Part<Name> {
    const made = parts.get(name) ??
      Object.fromEntries(
        Object.entries(declaredMetrics[name]).map(([key, one]) => [key, meter(one, registry)]),
      );
    parts.set(name, made);
    return made as Part<Name>;
  }

  return {
    get process() {
      return part("process");
    },
    get smtp() {
      return part("smtp");
    },
    get queue() {
      return part("queue");
    },
    get worker() {
      return part("worker");
    },
    get api() {
      return part("api");
    },
    get store() {
      return part("store");
    },
    get database() {
      return part("database");
    },
    onScrape(collect) {
      collectors.push(collect);
    },
    setPending(byGroup) {
      const { pending } = part("queue");
      pending.clear();
      for (const [group, count] of largest(byGroup, pendingGroups)) pending.set({ group }, count);
    },
    async text() {
      await Promise.all(collectors.map((collect) => withinTime(collect).catch(onCollectError)));
      return await registry.metrics();
    },
    contentType: registry.contentType,
  };
}

/** The entries with the highest counts; the sum of the others, when there are any, as `other`. */
export function largest(counts: ReadonlyMap<string, number>, max: number): readonly [string, number][] {
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  const others = sorted.slice(max).reduce((sum, [, count]) => sum + count, 0);
  return sorted.length > max ? [...sorted.slice(0, max), ["other", others]] : sorted;
}

async function withinTime(collect: () => void | Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`Cannot collect metrics: no answer after ${collectTimeoutMs} ms`)),
    collectTimeoutMs,
  );
  try {
    await Promise.race([collect(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

type Labels = Record<string, string>;

function meter(declaration: AnyDeclaration, registry: Registry): unknown {
  const { kind, name, help, buckets } = declaration;
  const labelNames = Object.keys(declaration.labels);
  const config = { name, help, labelNames, registers: [registry] };
  const { bound, forget } = boundLabels(declaration.labels);
  const labelled = labelNames.length > 0;
  switch (kind) {
    case "counter": {
      const counter = new Counter(config);
      for (const labels of combinations(declaration.labels)) counter.inc(labels, 0);
      return {
        add: labelled
          ? (labels: Labels, by?: number) => counter.inc(bound(labels), by)
          : (by?: number) => counter.inc(by),
      };
    }
    case "gauge": {
      const gauge = new Gauge(config);
      // What nobody has set is not told: the library would tell 0.
      if (!labelled) gauge.remove();
      return {
        set: labelled
          ? (labels: Labels, value: number) => gauge.set(bound(labels), value)
          : (value: number) => gauge.set(value),
        add: labelled
          ? (labels: Labels, by: number) => gauge.inc(bound(labels), by)
          : (by: number) => gauge.inc(by),
        clear: () => {
          gauge.reset();
          forget();
        },
      };
    }
    case "histogram": {
      const histogram = new Histogram({ ...config, ...(buckets && { buckets: [...buckets] }) });
      return {
        observe: labelled
          ? (labels: Labels, value: number) => histogram.observe(bound(labels), value)
          : (value: number) => histogram.observe(value),
      };
    }
  }
}

/** Every combination of labels whose values are all known beforehand; none when one of them is open. */
function combinations(spec: Record<string, LabelValues>): readonly Labels[] {
  let made: Labels[] = [{}];
  for (const [label, values] of Object.entries(spec)) {
    if (typeof values === "number") return [];
    made = made.flatMap((labels) => values.map((value) => ({ ...labels, [label]: value })));
  }
  return made;
}

/** Keeps the number of series bounded: what is not in the list, or new above the limit, becomes `other`. */
function boundLabels(spec: Record<string, LabelValues>) {
  const checks = Object.entries(spec).map(([label, values]) => ({
    label,
    known: new Set(typeof values === "number" ? [] : values),
    room: typeof values === "number" ? values : 0,
  }));

  function bound(labels: Labels): Labels {
    const bounded: Labels = {};
    for (const { label, known, room } of checks) {
      const value = labels[label] ?? "other";
      if (!known.has(value) && known.size < room) known.add(value);
      bounded[label] = known.has(value) ? value : "other";
    }
    return bounded;
  }

  function forget(): void {
    for (const { known, room } of checks) if (room > 0) known.clear();
  }

  return { bound, forget };
}
