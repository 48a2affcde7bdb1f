/** Tries what no service has any business with, and prints the names of what it was not refused. */
const temporary = "/tmp";

const attempts: Readonly<Record<string, () => unknown>> = {
  "read": () => Deno.readTextFileSync("/etc/passwd"),
  "list": () => [...Deno.readDirSync("/")],
  "read its own program": () => Deno.readTextFileSync(new URL("../../deno.json", import.meta.url)),
  "write": () => Deno.writeTextFileSync(`${temporary}/smtp_proxy_forbidden`, "written"),
  "remove": () => Deno.removeSync(`${temporary}/smtp_proxy_forbidden_not_there`),
  "run": () => new Deno.Command("true").outputSync(),
  "ffi": () => Deno.dlopen("libc.so.6", {}),
  "environment": () => Deno.env.get("HOME"),
  "whole environment": () => Deno.env.toObject(),
  "system": () => Deno.osRelease(),
  "user": () => Deno.uid(),
  "signal another process": () => Deno.kill(Deno.ppid, "SIGCONT"),
};

const allowed = Object.entries(attempts).filter(([, attempt]) => {
  try {
    attempt();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return false;
    throw error;
  }
});
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(allowed.map(([name]) => name))));
