import assert from "node:assert/strict";
import type { StopOptions } from "../../lib/stop_signal.ts";

const child = new URL("../support/wait_for_stop.ts", import.meta.url).href;

/** Starts the child, does something to it once it is ready, and gives what it said and how it ended. */
async function stopped(options: StopOptions, stop: (process: Deno.ChildProcess) => void | Promise<void>) {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", child, JSON.stringify(options)],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  let said = "";
  for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
    if (said === "" && text.startsWith("ready")) await stop(process);
    said += text;
  }
  const status = await process.status;
  if (!process.stdin.locked) await process.stdin.close().catch(assertClosed);
  return { said, status };
}

function assertClosed(error: unknown): void {
  assert.ok(error instanceof Error);
}

for (const withParent of [true, false]) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.test(`stopSignal() resolves on ${signal} and lets the process end, withParent ${withParent}`, async () => {
      const { said, status } = await stopped({ withParent }, (process) => process.kill(signal));
      assert.equal(said, `ready\n${signal}\n`);
      assert.equal(status.code, 0);
    });
  }
}

Deno.test("stopSignal() resolves at the end of standard input when it is to stop with its parent", async () => {
  const { said, status } = await stopped({ withParent: true }, (process) => process.stdin.close());
  assert.equal(said, "ready\nparent\n");
  assert.equal(status.code, 0);
});

Deno.test("stopSignal() ignores the end of standard input otherwise", async () => {
  const { said } = await stopped({ withParent: false }, async (process) => {
    await process.stdin.close();
    process.kill("SIGTERM");
  });
  assert.equal(said, "ready\nSIGTERM\n");
});

Deno.test("stopSignal() resolves on SIGHUP only with a terminal", async () => {
  const heard = await stopped({ withParent: false, withTerminal: true }, (process) => process.kill("SIGHUP"));
  assert.equal(heard.said, "ready\nSIGHUP\n");
  const unheard = await stopped({ withParent: false }, (process) => process.kill("SIGHUP"));
  assert.equal(unheard.said, "ready\n");
  assert.equal(unheard.status.signal, "SIGHUP");
});

Deno.test("stopSignal() takes the same signal twice at once for one", async () => {
  const { said, status } = await stopped({ withParent: false }, (process) => {
    process.kill("SIGTERM");
    process.kill("SIGINT");
  });
  assert.match(said, /^ready\n(SIGTERM|SIGINT)\n$/);
  assert.equal(status.code, 0);
});
