// A process of the tests: says "ready", waits for its reason to stop and says that; takes `stopSignal`'s options as JSON.
import { stopSignal } from "../../lib/stop_signal.ts";

const encoder = new TextEncoder();
const reason = stopSignal(JSON.parse(Deno.args[0] ?? "{}"));
await Deno.stdout.write(encoder.encode("ready\n"));
await Deno.stdout.write(encoder.encode(`${await reason}\n`));
