import type { Result } from "./result.ts";

/** A promise of the product about its speed, and what became of it in this run. */
export interface Bar {
  readonly promise: string;
  /** Undefined when the run did not measure it. */
  readonly seen: number | undefined;
  readonly least?: number;
  readonly most?: number;
}

/** What the final table says of a bar. */
export type Verdict = "met" | "missed" | "not measured";

export function verdictOf({ seen, least, most }: Bar): Verdict {
  if (seen === undefined) return "not measured";
  return seen >= (least ?? -Infinity) && seen <= (most ?? Infinity) ? "met" : "missed";
}

/** Every bar, each with the value that the results give it; ratios are between medians of the same run. */
export function barsOf(results: readonly Result[]): readonly Bar[] {
  const value = (key: string, name: string): number | undefined => {
    const [caseName, target, load] = key.split("/");
    return results.find((r) => r.case === caseName && r.target === target && r.load === load)?.values[name];
  };
  const rate = (key: string) => value(key, "perSecond");
  const ours = "accept/smtp-server";
  return [
    {
      promise: "100 a connection, of bare smtp-server",
      seen: ratio(rate(`${ours}/k100`), rate("accept/bare/k100")),
      least: 0.5,
    },
    {
      promise: "100 a connection, of Postfix queueing",
      seen: ratio(rate(`${ours}/k100`), rate("accept/postfix-hold/k100")),
      least: 1.3,
    },
    {
      promise: "100 a connection, of Postfix delivering",
      seen: ratio(rate(`${ours}/k100`), rate("accept/postfix-relay/k100")),
      least: 2,
    },
    {
      promise: "1 a connection, of Postfix queueing",
      seen: ratio(rate(`${ours}/k1`), rate("accept/postfix-hold/k1")),
      least: 1,
    },
    {
      promise: "1 MiB, of Postfix queueing",
      seen: ratio(rate(`${ours}/m1`), rate("accept/postfix-hold/m1")),
      least: 1,
    },
    { promise: "p99 of DATA-to-250 at half load, ms", seen: value("half/smtp-server/k100", "p99"), most: 25 },
    {
      promise: "draining, of accepting",
      seen: ratio(rate("drain/queue-worker/k100"), rate(`${ours}/k100`)),
      least: 1,
    },
    ...(["sendgrid", "ses"] as const).map((esp) => ({
      promise: `draining into ${esp}, of the SMTP relay`,
      seen: ratio(rate(`esps/${esp}/k100`), rate("esps/smtp/k100")),
      least: 0.5,
    })),
    {
      promise: "both at once: delivered, of accepted",
      seen: value("both/system/k100", "deliveredOfAccepted"),
      least: 0.9,
      most: 1.1,
    },
    {
      promise: "both at once, of accepting alone",
      seen: ratio(rate("both/system/k100"), rate(`${ours}/k100`)),
      least: 0.4,
    },
    ...(["unknown", "account", "suspended", "bcrypt"] as const).map((kind) => ({
      promise: `failed login, ${kind}, of an existing user's`,
      seen: value(`login/api-server/${kind}`, "ofExisting"),
      least: 0.95,
      most: 1.05,
    })),
    { promise: "last minute, of the first", seen: value("decay/system/k100", "lastOfFirst"), least: 0.9 },
    {
      promise: "the same with a snapshot held open",
      seen: value("decay/system/k100-snapshot", "lastOfFirst"),
      least: 0.9,
    },
    {
      promise: "resident MiB with 50 messages of 25 MB",
      seen: value("memory/smtp-server/50x25MB", "peakRssMiB"),
      most: 600,
    },
    {
      promise: "resident at 100,000 messages, of 20,000",
      seen: value("memory/smtp-server/k100", "lateOfEarly"),
      most: 1.15,
    },
    {
      promise: "p99 of MAIL-to-250 under wrong logins, ms",
      seen: value("flood/smtp-server/k100", "mailP99"),
      most: 100,
    },
    {
      promise: "CPU seconds of the worst 25 MB body",
      seen: value("shapes/smtp-server/worst", "cpuSeconds"),
      most: 1,
    },
    {
      promise: "its delay of another session, ms",
      seen: value("shapes/smtp-server/worst", "otherDelay"),
      most: 50,
    },
    {
      promise: "one row by the API, of hono alone",
      seen: ratio(rate("api/api-server/row"), rate("api/hono/row")),
      least: 0.5,
    },
    {
      promise: "lists, median at 1,000,000 of 10,000, worst",
      seen: value("filters/all/worst", "p50Ratio"),
      most: 1.5,
    },
    {
      promise: "the same, p99",
      seen: value("filters/all/worst", "p99Ratio"),
      most: 1.5,
    },
  ];
}

/** The bars as a table for people. */
export function tableOf(bars: readonly Bar[]): string {
  const lines = bars.map((bar) => {
    const seen = bar.seen === undefined ? "-" : bar.seen.toFixed(2);
    const wanted = [
      bar.least === undefined ? "" : `>= ${bar.least}`,
      bar.most === undefined ? "" : `<= ${bar.most}`,
    ];
    return [
      bar.promise.padEnd(46),
      seen.padStart(9),
      wanted.filter((text) => text !== "").join(" ").padEnd(16),
      verdictOf(bar),
    ]
      .join("  ");
  });
  return [["bar".padEnd(46), "seen".padStart(9), "wanted".padEnd(16), ""].join("  "), ...lines, ""].join(
    "\n",
  );
}

function ratio(ours: number | undefined, theirs: number | undefined): number | undefined {
  return ours === undefined || theirs === undefined || theirs === 0 ? undefined : ours / theirs;
}
