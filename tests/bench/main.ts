// `deno task bench [case...]`: measures the product beside a bare smtp-server and Postfix, in one run on one
// machine with one load generator. One JSON line for each result on standard output, the bars on standard error.
import { writeSync } from "node:fs";
import { barsOf, tableOf } from "./bars.ts";
import { runCommandLine } from "../support/command_line.ts";
import { type BenchOptions, commandLine, parseBenchOptions } from "./bench_options.ts";
import { runCase } from "./cases.ts";
import { writeCertificate } from "./certificate.ts";
import type { Result } from "./result.ts";

await runCommandLine(commandLine, parseBenchOptions, bench);

async function bench(options: BenchOptions): Promise<void> {
  await Deno.mkdir(options.data, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: await Deno.realPath(options.data), prefix: "run-" });
  try {
    await Deno.chmod(folder, 0o755); // Postfix and PostgreSQL run as other users
    const certificate = await writeCertificate(folder);
    const results: Result[] = [];
    for (const name of options.cases) {
      for await (const result of runCase(name, { options, folder, certificate, results, note })) {
        results.push(result);
        writeSync(1, JSON.stringify(result) + "\n");
      }
    }
    note(tableOf(barsOf(results)));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function note(text: string): void {
  writeSync(2, text + "\n");
}
