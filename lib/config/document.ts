import type { RawValue, Setting, SettingPath } from "./settings.ts";
import { fallbackOf, settingPaths, settings, variableOf } from "./settings.ts";

/** The documentation's table of settings, as rows of Markdown. */
export function settingsTable(): string {
  const rows = settingPaths.map((path) => {
    const file = settings[path].secret ? " (or `…_FILE`)" : "";
    return `| \`${path}\` | \`${variableOf(path)}\`${file} | ${shownDefault(path)} | ${
      settings[path].help
    } |`;
  });
  return ["| Setting | Variable | Default | Meaning |", "|---|---|---|---|", ...rows, ""].join("\n");
}

function shownDefault(path: SettingPath): string {
  const production = shown(fallbackOf(path, "production"));
  const development = shown(fallbackOf(path, "development"));
  return production === development ? production : `${production}; in \`development\` ${development}`;
}

function shown(value: RawValue): string {
  const text = String(value);
  return text === "" ? "*(empty)*" : `\`${text}\``;
}

/** Every setting for the terminal: its variable, its default and what it means. */
export function settingsHelp(): string {
  const lines = settingPaths.map((path) => {
    const { help, secret } = settings[path];
    const own = shownDefault(path).replaceAll(/[`*]/g, "");
    return `  ${variableOf(path)}${secret ? " (or _FILE)" : ""}, ${path}, default ${own}\n      ${
      help.replaceAll("`", "")
    }\n`;
  });
  return `Settings, as variables and as the configuration file (--config FILE) calls them:\n\n${
    lines.join("")
  }`;
}

/** A configuration file that names every setting with its default; loading it changes nothing. */
export function exampleConfig(): string {
  const lines = [
    "# Every setting with its default. A variable of the environment overrides what is written here:",
  ];
  lines.push("# smtp.port is SMTP_PROXY_SMTP_PORT, and so on.");
  let section = "";
  for (const path of settingPaths) {
    const [first = "", key] = path.split(".");
    const indent = key === undefined ? "" : "  ";
    if (key === undefined || first !== section) lines.push("");
    if (key !== undefined && first !== section) lines.push(`${first}:`);
    section = first;
    lines.push(`${indent}# ${settings[path].help.replaceAll("`", "")}`);
    lines.push(`${indent}${defaultLine(path, key ?? first)}`);
  }
  return lines.join("\n") + "\n";
}

/** A default that depends on the environment is written as a comment, so that it goes on depending on it. */
function defaultLine(path: SettingPath, key: string): string {
  const { fallback } = settings[path] as Setting<unknown>;
  const line = `${key}: ${yamlOf(fallbackOf(path, "production"))}`;
  return typeof fallback === "object" && "production" in fallback ? `# ${line}` : line;
}

function yamlOf(value: RawValue): string {
  return Array.isArray(value)
    ? `[${value.map((item) => JSON.stringify(item)).join(", ")}]`
    : JSON.stringify(value);
}
