import { join } from "node:path";
import { until } from "../../services/dev/processes.ts";
import { projectFolder, taskArguments } from "../../services/dev/task_command.ts";
import { basicVariables } from "./run_program.ts";

/** How one service of a test is started, each time anew. */
export interface ServicePlan {
  readonly task: "smtp-server" | "queue-worker" | "api-server";
  /** Stands where the task says `.data`; the service's output goes to a file in it. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly opsPort: number;
}

const readyLimitMs = 180_000;
const stopLimitMs = 120_000;

/** A service as a process of its own, with the permissions of its task; it can be ended and started again. */
export class ServiceProcess implements AsyncDisposable {
  readonly name: string;
  readonly #plan: ServicePlan;
  #child: Deno.ChildProcess | undefined;
  #status: Deno.CommandStatus | undefined;

  constructor(plan: ServicePlan) {
    this.name = plan.task;
    this.#plan = plan;
  }

  /** Of the process that runs, or ran last. */
  get pid(): number {
    if (this.#child === undefined) {
      throw new Error(`Cannot name the process of ${this.name}: it never started`);
    }
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#status === undefined;
  }

  /**
   * Starts it and resolves when its `/readyz` is 200; throws with what it said when it ends before. The settings count
   * for this start alone.
   */
  async start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    this.launch(settings);
    const isUp = async () => !this.isRunning || await this.isReady();
    if (await until(isUp, readyLimitMs) && this.isRunning) return;
    throw new Error(`Cannot start ${this.name}; it said:\n${(await this.log()).slice(-4000)}`);
  }

  /** Starts it without waiting for anything. */
  launch(settings: Readonly<Record<string, string>> = {}): void {
    if (this.isRunning) throw new Error(`Cannot start ${this.name}: it runs already`);
    const { folder, env, task } = this.#plan;
    this.#status = undefined;
    const child = new Deno.Command("/bin/sh", {
      // The shell hands the file over and is gone: the service writes to it also when this process is not looking.
      args: [
        "-c",
        'log=$1; shift; exec "$@" >>"$log" 2>&1',
        "sh",
        this.#logFile,
        Deno.execPath(),
        ...taskArguments(task, folder),
      ],
      env: { ...basicVariables(), ...env, ...settings },
      clearEnv: true,
      cwd: projectFolder,
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#child = child;
    child.status.then((status) => {
      if (this.#child === child) this.#status = status;
    });
  }

  /** Whether its `/readyz` answers 200 now. */
  async isReady(): Promise<boolean> {
    return (await this.ask("/readyz"))?.status === 200;
  }

  /** A metric's value, summed over the label sets that contain the given text; 0 when it is not there. */
  async metric(name: string, labels = ""): Promise<number> {
    const answer = await this.ask("/metrics");
    const lines = answer?.text.split("\n").filter((line) => line.startsWith(name) && line.includes(labels)) ??
      [];
    const values = lines.filter((line) => /^[ {]/.test(line.slice(name.length))).map((line) =>
      line.split(" ").at(-1)
    );
    return values.reduce((sum, value) => sum + Number(value), 0);
  }

  /** Asks the operations port; undefined when nobody answers. */
  async ask(path: string): Promise<{ readonly status: number; readonly text: string } | undefined> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.#plan.opsPort}${path}`);
      return { status: response.status, text: await response.text() };
    } catch (error) {
      if (error instanceof TypeError) return undefined;
      throw error;
    }
  }

  signal(signal: Deno.Signal): void {
    this.#child?.kill(signal);
  }

  /** Ends it at once (SIGKILL) and resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.isRunning) this.signal("SIGKILL");
    await this.#gone();
  }

  /** Asks it to stop (SIGTERM) and resolves with its exit code; throws when it does not stop in time. */
  async stop(): Promise<number> {
    if (this.isRunning) this.signal("SIGTERM");
    return await this.ended();
  }

  /** Resolves with its exit code once it has ended, of itself or as it was told to; throws when it does not in time. */
  async ended(): Promise<number> {
    if (await until(() => !this.isRunning, stopLimitMs)) return await this.#gone();
    await this.kill();
    throw new Error(`Cannot stop ${this.name}; it said:\n${(await this.log()).slice(-4000)}`);
  }

  /** What it said so far, over all its starts. */
  async log(): Promise<string> {
    return await Deno.readTextFile(this.#logFile);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== undefined) await this.kill();
  }

  get #logFile(): string {
    const { folder, task, env } = this.#plan;
    const instance = env["SMTP_PROXY_INSTANCE"];
    return join(folder, instance === undefined ? `${task}.log` : `${task}.${instance}.log`);
  }

  async #gone(): Promise<number> {
    if (this.#child === undefined) return 0;
    const { code } = await this.#child.status;
    if (!this.#child.stdin.locked) await this.#child.stdin.close().catch(ignoreClosed);
    await until(() => this.#status !== undefined, stopLimitMs);
    return code;
  }
}

/** A pipe whose reader has ended is as closed as it can be. */
function ignoreClosed(error: unknown): void {
  if (!(error instanceof Error)) throw error;
}
