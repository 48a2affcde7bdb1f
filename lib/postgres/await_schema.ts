import type { Log } from "../telemetry/log_fields.ts";
import type { Database } from "./database.ts";
import { faultText } from "./faults.ts";
import { examineDatabase, type SchemaRange } from "./readiness.ts";

/** The schema versions that this release works with (ruling 3.21). */
export const supportedSchema: SchemaRange = { oldest: 15, newest: 15 };

const againMs = 1000;

/** How a service waits for its database. */
export interface AwaitSchemaOptions {
  readonly development: boolean;
  readonly log: Log;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
  readonly range?: SchemaRange;
}

/**
 * Resolves to true when the database can be worked with, having waited as long as it is down or not yet migrated, and
 * to false when the signal came first. Throws what the database refuses for good. Each hindrance is logged once.
 */
export async function awaitSchema(database: Database, options: AwaitSchemaOptions): Promise<boolean> {
  let told = "";
  while (!options.signal.aborted) {
    const hindrance = await findHindrance(database, options);
    if (hindrance === undefined) return true;
    if (hindrance !== told) options.log.warn("database not ready", { reason: hindrance });
    told = hindrance;
    await pause(againMs, options.signal);
  }
  return false;
}

async function findHindrance(database: Database, options: AwaitSchemaOptions): Promise<string | undefined> {
  const { development, log, range = supportedSchema } = options;
  let findings;
  try {
    findings = await examineDatabase(database, range, { development, durable: true });
  } catch (error) {
    return faultText(error);
  }
  const refused = findings.find(({ severity }) => severity === "refuse");
  if (refused !== undefined) throw new Error(`Cannot use the database: ${refused.problem}`);
  for (const { severity, problem } of findings) {
    if (severity === "warn") log.warn("database unsafe", { reason: problem });
  }
  return findings.find(({ severity }) => severity === "wait")?.problem;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const cut = Promise.withResolvers<void>();
  const timer = setTimeout(cut.resolve, ms);
  signal.addEventListener("abort", () => cut.resolve(), { once: true });
  await cut.promise;
  clearTimeout(timer);
}
