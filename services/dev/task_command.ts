import project from "../../deno.json" with { type: "json" };

/** A task of deno.json that runs one program. */
export type TaskName = "smtp-server" | "queue-worker" | "api-server" | "migrate" | "seed";

/** The project's folder, in which tasks run. */
export const projectFolder = new URL("../../", import.meta.url).pathname;

/**
 * What follows `deno` in a task, so that `dev` gives each program the permissions that its task spells and no others.
 * Paths below `.data` are meant for the folder that `dev` keeps its data in.
 */
export function taskArguments(name: TaskName, dataFolder: string): readonly string[] {
  const [program, ...words] = project.tasks[name].split(" ");
  if (program !== "deno") {
    throw new Error(`Cannot run the task ${name}: it begins with ${program}, not with deno`);
  }
  return words.map((word) => word.replace(/(?<=[=,])\.data(?=[,/]|$)/g, () => dataFolder));
}
