import { countByGroup, countDead, countUnfinished } from "../../lib/messages/orphans_table.ts";
import type { Database } from "../../lib/postgres/database.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import type { ProviderHealth } from "./provider_health.ts";

/** What the gauges show. */
export interface GaugeSources {
  readonly database: Database;
  readonly memory: { readonly used: number };
  readonly health: Pick<ProviderHealth, "count">;
  /** Whether this worker counts for all of them now; the others tell nothing of what they share. */
  readonly isCounting: () => boolean;
  /** A clock in milliseconds that never goes back. */
  readonly now?: () => number;
}

const freshMs = 5000;

/** Sets the worker's gauges at each scrape; the database is counted once in five seconds at most. */
export function setGauges(
  metrics: Metrics,
  { database, memory, health, isCounting, now = () => performance.now() }: GaugeSources,
): void {
  let countedAt = -Infinity;
  metrics.onScrape(() => {
    metrics.worker.bodyMemory.set(memory.used);
    const { open, probing, needAttention } = health.count();
    metrics.worker.breakers.set({ state: "open" }, open);
    metrics.worker.breakers.set({ state: "probing" }, probing);
    metrics.worker.needsAttention.set(needAttention);
    const { active, idle } = database.connections();
    metrics.database.active.set(active);
    metrics.database.idle.set(idle);
  });
  metrics.onScrape(async () => {
    if (!isCounting()) {
      for (const gauge of [metrics.queue.depth, metrics.queue.oldestAge, metrics.queue.pending]) {
        gauge.clear();
      }
      countedAt = -Infinity;
      return;
    }
    if (now() - countedAt < freshMs) return;
    countedAt = now();
    for (const { status, count, oldestSeconds } of await countUnfinished(database.system)) {
      metrics.queue.depth.set({ status }, count);
      metrics.queue.oldestAge.set({ status }, oldestSeconds);
    }
    metrics.queue.depth.set({ status: "failed" }, await countDead(database.system));
    metrics.setPending(await countByGroup(database.system));
  });
}
