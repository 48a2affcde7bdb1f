import { startChild } from "./child.ts";
import type { Certificate, Target } from "./target.ts";

/** Starts npm:smtp-server alone, which throws away what it takes. */
export async function openBareServer({ keyFile, certFile }: Certificate): Promise<Target> {
  const child = await startChild("./bare_server.ts", ["0", keyFile, certFile]);
  return {
    name: "bare",
    port: child.port,
    tls: "starttls",
    user: "dev",
    password: "dev",
    pids: [child.pid],
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}
