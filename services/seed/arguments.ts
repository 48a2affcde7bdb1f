import { parseArgs } from "node:util";
import { parseProvider, type ProviderRequest } from "./provider_request.ts";

/** What `seed` is asked to do. */
export type SeedRequest =
  | { readonly kind: "help" }
  | { readonly kind: "seed"; readonly provider?: ProviderRequest }
  /** Stores nothing; with a test mail it sends one. */
  | {
    readonly kind: "check";
    readonly provider: ProviderRequest;
    readonly mail?: { readonly from: string; readonly to: string };
  };

/** What `--help` prints. */
export const usage = `seed                   create the dev group and its SMTP account where they are missing
seed --provider JSON   and make the dev group deliver by this provider, described as for POST /providers
seed --check JSON      only prove a provider's credentials, sending and storing nothing
     --from A --to B   and send a test message by it
`;

const options = {
  help: { type: "boolean", short: "h" },
  provider: { type: "string" },
  check: { type: "string" },
  from: { type: "string" },
  to: { type: "string" },
} as const;

/** Reads the command line; throws a sentence that shows no secret. */
export function parseArguments(words: readonly string[]): SeedRequest {
  const { values, positionals } = parsed(words);
  if (values.help === true) return { kind: "help" };
  if (positionals[0] !== undefined) throw refused(positionals[0]);
  const { provider, check, from, to } = values;
  if (check === undefined) {
    if (from !== undefined || to !== undefined) {
      throw new Error("Cannot seed: --from and --to go with --check");
    }
    return provider === undefined ? { kind: "seed" } : { kind: "seed", provider: parseProvider(provider) };
  }
  if (provider !== undefined) throw new Error("Cannot seed: --check and --provider exclude each other");
  const request = { kind: "check", provider: parseProvider(check) } as const;
  if (from === undefined && to === undefined) return request;
  if (from === undefined || to === undefined) throw new Error("Cannot seed: --from and --to go together");
  return { ...request, mail: { from, to } };
}

function parsed(words: readonly string[]) {
  try {
    return parseArgs({ args: [...words], options, allowPositionals: true });
  } catch (error) {
    // The text of the error may hold a value, and a value a secret.
    const word = words.find((one) => one.startsWith("-") && !(one.replace(/^--?|=.*$/gs, "") in options));
    throw refused(word?.replace(/=.*$/s, "") ?? words.at(-1) ?? "", error);
  }
}

function refused(word: string, cause?: unknown): Error {
  const shown = word.startsWith("-") ? word.slice(0, 50) : "not shown";
  return new Error(
    `Cannot seed: expected --provider JSON or --check JSON: current value is "${shown}"`,
    cause === undefined ? undefined : { cause },
  );
}
