import { drainInto } from "./delivery_cases.ts";
import type { Result } from "./result.ts";
import type { BenchedEsp, System } from "./system.ts";

const benched: readonly BenchedEsp[] = ["smtp", "sendgrid", "ses"];

/** How fast one worker drains stored messages by each kind of ESP, into a server of this host. */
export async function* esps(system: System, folder: string, stored: number): AsyncGenerator<Result> {
  for (const esp of benched) {
    const { values, errors } = await drainInto(esp, system, folder, stored);
    yield { case: "esps", target: esp, load: "k100", values, errors };
  }
}
