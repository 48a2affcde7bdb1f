import project from "../../deno.json" with { type: "json" };

/** A task of deno.json that runs one program. */
export type TaskName =
  | "smtp-server"
  | "queue-worker"
  | "api-server"
  | "migrate"
  | "seed"
  | "admin"
  | "seal"
  | "apply"
  | "spool";

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

/** Settings that name a file or folder the services only read. */
const readOnly = /^SMTP_PROXY_(CONFIG|TLS_CERT_FILE|TLS_KEY_FILE|QUEUE_REDIS_CA_FILE|[A-Z_]+_FILE)$/;

/** Adds the paths that a person's settings name to what a task may read and write, and nothing else. */
export function withNamedPaths(
  words: readonly string[],
  variables: Readonly<Record<string, string>>,
): readonly string[] {
  const read = Object.entries(variables).flatMap(([name, path]) => readOnly.test(name) ? [path] : []);
  const logs = folderOf(variables["SMTP_PROXY_LOGGING_FILE_PATH"]);
  const messages = variables["SMTP_PROXY_STORAGE_PATH"];
  const mail = variables["SMTP_PROXY_ESP_FILE_FOLDER"];
  return words.map((word) => {
    const isRead = word.startsWith("--allow-read=");
    if (!isRead && !word.startsWith("--allow-write=")) return word;
    // Only a task that works with the store spells a folder of messages, and likewise of mail.
    const folders = [
      logs,
      ...word.includes("/messages") ? [messages] : [],
      ...word.includes("/mail") ? [mail] : [],
    ];
    const named = [...isRead ? read : [], ...folders];
    return [...new Set([...word.split(","), ...named.filter((path) => path !== undefined && path !== "")])]
      .join();
  });
}

function folderOf(file: string | undefined): string | undefined {
  const end = file?.lastIndexOf("/") ?? -1;
  return end > 0 ? file?.slice(0, end) : undefined;
}
