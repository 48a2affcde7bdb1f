import { taskArguments, type TaskName } from "../../services/dev/task_command.ts";

/** How a program ended and what it said. */
export interface ProgramResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program of the project to its end, with the permissions of its task and no other environment than given; the
 * folder stands where the task says `.data`.
 */
export async function runProgram(
  name: TaskName,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  folder = ".data",
): Promise<ProgramResult> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...taskArguments(name, folder), ...args],
    env: { ...basicVariables(), ...env },
    clearEnv: true,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** The environment without settings of the product, and no colours. */
export function basicVariables(): Record<string, string> {
  const others = Object.entries(Deno.env.toObject()).filter(([name]) => !name.startsWith("SMTP_PROXY_"));
  return { ...Object.fromEntries(others), NO_COLOR: "1" };
}
