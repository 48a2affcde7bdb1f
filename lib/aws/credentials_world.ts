import type { CredentialWorld } from "./credentials.ts";
import { CredentialsFailure } from "./credentials.ts";
import { fetchDirect } from "./fetch_direct.ts";

/** The process's own world: what it may not read is refused, and says which permission is missing. */
export const processWorld: CredentialWorld = {
  fetch: (input, init) => fetch(input, init),
  fetchDirect,
  now: () => new Date(),
  env: readVariable,
  readTextFile: (path) => Deno.readTextFile(path),
};

function readVariable(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    throw new CredentialsFailure(
      "credentials_refused",
      `Cannot get credentials: ${name} may not be read: ${error.message}`,
      { cause: error },
    );
  }
}
