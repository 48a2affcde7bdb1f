/** Prints the id of the key that this process's machine or container gives it, by the kind of credentials it is told. */
import { processWorld } from "../../lib/aws/credentials_world.ts";
import { createCredentials } from "../../lib/aws/open_credentials.ts";

const [kind] = Deno.args;
if (kind !== "instance" && kind !== "container") throw new Error(`Cannot ask for ${kind}`);
const { accessKeyId } = await createCredentials(processWorld)({ kind }).resolve();
await Deno.stdout.write(new TextEncoder().encode(accessKeyId));
