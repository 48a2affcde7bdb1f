// The bench's load generator: SMTP over raw sockets, a process of its own; prints one JSON line when done.
import { writeSync } from "node:fs";
import process from "node:process";
import { LoadConnection } from "./load_connection.ts";
import { IdFiles } from "./load_ids.ts";
import { makeFiller, MessageTemplate } from "./load_message.ts";
import { type LoadOptions, parseLoadOptions, shareArguments } from "./load_options.ts";
import { LoadSession } from "./load_session.ts";
import { type LoadCounts, LoadTally } from "./load_tally.ts";
import { LoadWork } from "./load_work.ts";

const childFlag = "--child";

/** Sends the whole load from this process and answers what was counted. */
async function generate(options: LoadOptions): Promise<LoadCounts> {
  const idle = await Promise.all(Array.from({ length: options.idle }, () => LoadConnection.open(options)));
  const cpuBefore = process.cpuUsage();
  const work = new LoadWork(
    options,
    () => performance.now(),
    options.keep === 0 ? undefined : endOfInput(),
  );
  const tally = new LoadTally(options.sliceSeconds, performance.now());
  using ids = new IdFiles(options.idsFile);
  const filler = makeFiller();
  const shape = { ...options, to: `user0@${options.toDomain}`, date: new Date() };
  const sessions = Array.from(
    { length: options.sessions },
    () => new LoadSession({ options, work, tally, ids, template: new MessageTemplate(shape, filler) }),
  );
  const watch = setInterval(() => {
    const limit = performance.now() - options.timeoutSeconds * 1_000;
    for (const session of sessions) session.expire(limit);
  }, 500);
  await Promise.all(sessions.map((session) => session.run()));
  clearInterval(watch);
  for (const connection of idle) connection.close();
  const cpu = process.cpuUsage(cpuBefore);
  return tally.counts((cpu.user + cpu.system) / 1e6);
}

async function endOfInput(): Promise<void> {
  for await (const _chunk of process.stdin) continue;
}

/** Shares the load among processes, each of which prints its counts. */
async function generateInProcesses(options: LoadOptions): Promise<LoadCounts[]> {
  const script = new URL(import.meta.url).pathname;
  const children = Array.from({ length: options.processes }, (_, index) =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", script, childFlag, ...shareArguments(options, index)],
      stdout: "piped",
      stderr: "inherit",
    }).output());
  return (await Promise.all(children)).map((output) => {
    if (!output.success) {
      throw new Error(`Cannot finish the load: a process ended with status ${output.code}`);
    }
    return JSON.parse(new TextDecoder().decode(output.stdout));
  });
}

const isChild = Deno.args.includes(childFlag);
const options = parseLoadOptions(Deno.args.filter((argument) => argument !== childFlag));
if (isChild) {
  writeSync(1, JSON.stringify(await generate(options)) + "\n");
} else {
  const tally = new LoadTally(options.sliceSeconds, performance.now());
  const parts = options.processes === 1 ? [await generate(options)] : await generateInProcesses(options);
  for (const part of parts) tally.merge(part);
  writeSync(1, JSON.stringify(tally.report(options.run)) + "\n");
}
