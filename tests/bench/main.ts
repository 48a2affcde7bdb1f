// `deno task bench [case...]`: measures the product beside a bare smtp-server and Postfix, in one run on one
// machine with one load generator. One JSON line for each result on standard output, the bars on standard error.
import { writeSync } from "node:fs";
import { compareServers } from "./accept_case.ts";
import { loads } from "./load_kinds.ts";
import { openBareServer } from "./bare_target.ts";
import { barsOf, tableOf } from "./bars.ts";
import { type BenchOptions, parseBenchOptions } from "./bench_options.ts";
import { writeCertificate } from "./certificate.ts";
import { openPostfix, whyNoPostfix } from "./postfix.ts";
import { startChild } from "./child.ts";
import type { Result } from "./result.ts";
import type { Certificate, Target } from "./target.ts";

function note(text: string): void {
  writeSync(2, text + "\n");
}

async function* accept(
  folder: string,
  certificate: Certificate,
  options: BenchOptions,
): AsyncGenerator<Result> {
  await using open = new AsyncDisposableStack();
  const targets: Target[] = [open.use(await openBareServer(certificate))];
  const absence = await whyNoPostfix();
  if (absence === undefined) {
    const sink = open.use(await startChild("./sink.ts", []));
    targets.push(
      open.use(await openPostfix(folder, { kind: "hold" }, certificate)),
      open.use(await openPostfix(folder, { kind: "discard" }, certificate)),
      open.use(await openPostfix(folder, { kind: "relay", port: sink.port }, certificate)),
    );
  } else {
    note(`Without Postfix: ${absence}`);
  }
  yield* compareServers("accept", targets, loads, options);
}

const options = parseBenchOptions(Deno.args);
await Deno.mkdir(options.data, { recursive: true });
const folder = await Deno.makeTempDir({ dir: await Deno.realPath(options.data), prefix: "run-" });
await Deno.chmod(folder, 0o755);
try {
  const certificate = await writeCertificate(folder);
  const results: Result[] = [];
  for (const name of options.cases) {
    const cases = { accept };
    for await (const result of cases[name](folder, certificate, options)) {
      results.push(result);
      writeSync(1, JSON.stringify(result) + "\n");
    }
  }
  note(tableOf(barsOf(results)));
} finally {
  await Deno.remove(folder, { recursive: true });
}
