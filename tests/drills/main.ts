// `deno task drill [name...]`: proves in large that nothing acknowledged is lost. Each drill runs the product as real
// processes, sends mail, lets one thing go wrong in the midst of it, and counts where the mail arrives. One JSON line
// for each; the exit status is 1 when one has failed.
import { writeSync } from "node:fs";
import { runCommandLine } from "../support/command_line.ts";
import { backlogFlush } from "./backlog_flush.ts";
import { disturbanceOf } from "./disturbances.ts";
import { runDrill } from "./drill.ts";
import { backlogName, commandLine, type DrillPlan, parseDrillPlan } from "./drill_options.ts";
import { withStage } from "./stage.ts";

await runCommandLine(commandLine, parseDrillPlan, async (plan) => {
  for (const name of plan.names) {
    try {
      await drill(name, plan);
    } catch (error) {
      Deno.exitCode = 1;
      writeSync(2, `${name}: ${error instanceof Error ? error.message : error}\n`);
    }
  }
});

async function drill(name: string, plan: DrillPlan): Promise<void> {
  if (name === backlogName) return tell(await backlogFlush(plan.backlog, plan));
  const disturbance = disturbanceOf(name);
  await withStage({ ...disturbance, queue: plan.queue ?? disturbance.queue }, async (stage) => {
    tell(await runDrill(stage, [disturbance], plan));
  });
}

function tell(result: { readonly passed: boolean }): void {
  writeSync(1, `${JSON.stringify(result)}\n`);
  // Thrown, so that the stage keeps its logs and data.
  if (!result.passed) throw new Error("The drill has failed");
}
