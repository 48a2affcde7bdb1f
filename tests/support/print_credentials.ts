/** Prints the id of the key that this process's machine or container gives it, by the kind of credentials it is told. */
import { processWorld } from "../../lib/aws/credentials_world.ts";
import { createCredentials } from "../../lib/aws/open_credentials.ts";

const [kind] = Deno.args;
if (kind !== "instance" && kind !== "container") throw new Error(`Cannot ask for ${kind}`);
const { signal } = new AbortController();
const { accessKeyId } = await createCredentials({
  ...processWorld,
  // However long it takes: whoever answers may be held up.
  fetchDirect: (url, init) => processWorld.fetchDirect(url, { ...init, signal }),
})({ kind }).resolve();
await Deno.stdout.write(new TextEncoder().encode(accessKeyId));
