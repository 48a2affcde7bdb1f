import { TextLineStream } from "./text_lines.ts";

/** A process of the bench that says on which port it listens, and answers lines with lines. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  /** Sends a line to its standard input and answers the next line of its output. */
  ask(line: string): Promise<string>;
}

/** Starts a script of this folder and waits until it has printed `{"listening":port}`. */
export async function startChild(script: string, args: readonly string[]): Promise<Child> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL(script, import.meta.url).pathname, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const input = process.stdin.getWriter();
  const lines = process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
    .getReader();
  const nextLine = async () => {
    const { value, done } = await lines.read();
    if (done) {
      throw new Error(`Cannot read from ${script}: it ended with status ${(await process.status).code}`);
    }
    return value;
  };
  const { listening } = JSON.parse(await nextLine());
  return {
    pid: process.pid,
    port: listening,
    async ask(line) {
      await input.write(new TextEncoder().encode(line + "\n"));
      return await nextLine();
    },
    async [Symbol.asyncDispose]() {
      await input.close();
      process.kill("SIGTERM");
      await process.status;
      await lines.cancel();
    },
  };
}

/** Runs a script of this folder to its end and answers the JSON it printed. */
export async function runToJson<T>(script: string, args: readonly string[]): Promise<T> {
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL(script, import.meta.url).pathname, ...args],
    stdout: "piped",
    stderr: "inherit",
  }).output();
  if (!output.success) throw new Error(`Cannot run ${script}: it ended with status ${output.code}`);
  return JSON.parse(new TextDecoder().decode(output.stdout));
}
