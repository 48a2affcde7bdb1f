import { processWorld } from "../aws/credentials_world.ts";
import { createCredentials } from "../aws/open_credentials.ts";
import type { Config } from "../config/settings.ts";
import type { EspIo } from "../esp/esp.ts";
import { createEndpointGuard, createGuard } from "../network/guard.ts";

/** What `answerTimeoutMs` is in operation (RFC 5321 section 4.5.3.2.6). */
export const answerTimeoutMs = 600_000;

/** The world as ESPs of this configuration see it. */
export function espIoOf({ esp, delivery, environment }: EspConfig): EspIo {
  const development = environment === "development";
  const callable = { allowedNetworks: esp.allowedNetworks, allowedPorts: esp.allowedPorts, development };
  return {
    fetch: fetchWithFreshConnections(),
    now: () => new Date(),
    guard: createGuard(callable),
    guardEndpoint: createEndpointGuard({ ...callable, allowedOrigins: esp.allowedEndpoints }),
    callTimeoutMs: delivery.callTimeout,
    answerTimeoutMs,
    print: printLine,
    showText: development,
    ...(esp.allowFile && { mailFolder: esp.fileFolder }),
    credentials: createCredentials(processWorld),
  };
}

/**
 * Services end idle connections after about a minute, and a request that crosses that end is in doubt: nobody knows
 * whether it was read. So connections are not kept as long as that.
 */
const idleMs = 20_000;

function fetchWithFreshConnections(): typeof fetch {
  let client: Deno.HttpClient | undefined;
  return (input, init) => {
    client ??= Deno.createHttpClient({ poolIdleTimeout: idleMs });
    return fetch(input, { ...init, client });
  };
}

type EspConfig = Pick<Config, "esp" | "delivery" | "environment">;

function printLine(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
