import { operationsPort } from "../../lib/config/checks.ts";
import { type Config, type SettingPath, variableOf } from "../../lib/config/settings.ts";
import { until } from "./processes.ts";

/** One port that something will listen on, and the variable that sets it. */
export interface PlannedPort {
  readonly host: string;
  readonly port: number;
  readonly variable: string;
}

/** Every port that the services and PostgreSQL will listen on; a port 0 takes any that is free. */
export function plannedPorts(
  { smtp, worker, api, instance }: Config,
  postgresPort: number,
): readonly PlannedPort[] {
  const plan = (path: SettingPath, host: string, port: number) => ({
    host,
    port,
    variable: variableOf(path),
  });
  return [
    plan("smtp.port", smtp.host, smtp.port),
    plan("smtp.implicit_tls_port", smtp.host, smtp.implicitTlsPort),
    plan("smtp.ops_port", smtp.opsHost, operationsPort(smtp.opsPort, instance)),
    plan("worker.ops_port", worker.opsHost, operationsPort(worker.opsPort, instance)),
    plan("api.port", api.host, api.port),
    plan("api.ops_port", api.opsHost, operationsPort(api.opsPort, instance)),
    { host: "127.0.0.1", port: postgresPort, variable: "SMTP_PROXY_DEV_POSTGRES_PORT" },
  ].filter(({ port }) => port !== 0);
}

/** Throws a sentence for every port that somebody listens on or that is planned twice, waiting for it that long. */
export async function refuseTakenPorts(ports: readonly PlannedPort[], waitMs: number): Promise<void> {
  const twice = ports.filter(({ port }, index) => ports.findIndex((other) => other.port === port) !== index);
  if (twice.length > 0) {
    throw new Error(
      `Cannot start:\n${
        twice.map(({ port, variable }) => `- port ${port} is meant for two: set ${variable} to another`).join(
          "\n",
        )
      }`,
    );
  }
  let taken = ports;
  await until(() => (taken = taken.filter(isTaken)).length === 0, waitMs);
  if (taken.length === 0) return;
  throw new Error(
    `Cannot start:\n${
      taken.map(({ host, port, variable }) =>
        `- port ${port} on ${host} is taken: stop what uses it, or set ${variable} to another`
      ).join("\n")
    }`,
  );
}

function isTaken({ host, port }: PlannedPort): boolean {
  try {
    Deno.listen({ hostname: host, port }).close();
    return false;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return true;
    throw new Error(`Cannot listen on ${host}:${port}: ${error instanceof Error ? error.message : error}`);
  }
}
