// `deno task drill [name...]`: proves in large that nothing acknowledged is lost. Each drill runs the product as real
// processes, sends mail, lets one thing go wrong in the midst of it, and counts where the mail arrives. One JSON line
// for each; the exit status is 1 when one has failed.
import { writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { backlogFlush } from "./backlog_flush.ts";
import { disturbanceOf, disturbances } from "./disturbances.ts";
import { type DrillOptions, runDrill } from "./drill.ts";
import { withStage } from "./stage.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    messages: { type: "string", default: "20000" },
    backlog: { type: "string", default: "100000" },
    rate: { type: "string", default: "300" },
    size: { type: "string", default: "10240" },
    recipients: { type: "string", default: "2" },
    sessions: { type: "string", default: "20" },
    last: { type: "string", default: "31" },
    queue: { type: "string" },
  },
});
const options: DrillOptions = {
  messages: Number(values.messages),
  rate: Number(values.rate),
  size: Number(values.size),
  recipients: Number(values.recipients),
  sessions: Number(values.sessions),
  lastMs: 1000 * Number(values.last),
  graceMs: 60_000,
};
const backlogName = "flush_backlog";
const names = positionals.length > 0 ? positionals : [...disturbances.map(({ name }) => name), backlogName];

for (const name of names) {
  try {
    await drill(name);
  } catch (error) {
    Deno.exitCode = 1;
    writeSync(2, `${name}: ${error instanceof Error ? error.message : error}\n`);
  }
}

async function drill(name: string): Promise<void> {
  if (name === backlogName) return tell(await backlogFlush(Number(values.backlog), options));
  const disturbance = disturbanceOf(name);
  // What has nothing to do with the queue can be tried with either.
  const queue = values.queue === "redis" || values.queue === "postgres" ? values.queue : disturbance.queue;
  await withStage({ ...disturbance, queue }, async (stage) => {
    tell(await runDrill(stage, [disturbance], options));
  });
}

function tell(result: { readonly passed: boolean }): void {
  writeSync(1, `${JSON.stringify(result)}\n`);
  // Thrown, so that the stage keeps its logs and data.
  if (!result.passed) throw new Error("The drill has failed");
}
