import project from "../../deno.json" with { type: "json" };
import { exampleConfig, settingsTable } from "../../lib/config/document.ts";
import { settingPaths, settings, variableOf } from "../../lib/config/settings.ts";
import { espKinds } from "../../lib/esp/catalog.ts";
import { accountSettingsTable, kindSettingsTable } from "../../lib/esp/document.ts";
import { simulatedOutcomes } from "../../lib/esp/simulator.ts";
import { metricsTable } from "../../lib/telemetry/metrics_declared.ts";
import { actions, type Grade, gradeMay, isScope } from "../../services/api-server/access/permissions.ts";
import { refusalReplies, type Reply } from "../../services/smtp-server/replies.ts";

/** What is written from the code: between two marks of a page, or a whole file. */
export const generated: Readonly<Record<string, (text: string) => string>> = {
  "README.md": (text) =>
    [
      ["settings", settingsTable()],
      ["replies", repliesTable()],
      ["roles", rolesTable()],
      ["metrics", metricsTable()],
      ["provider settings", accountSettingsTable()],
      ["simulator outcomes", simulatorTable()],
      ...espKinds.map((kind) => [`provider ${kind.name}`, kindSettingsTable(kind)]),
    ].reduce((page, [name = "", table = ""]) => fill(page, name, table), text),
  "services/operations/config.yaml": () => exampleConfig(),
  "Dockerfile": (text) =>
    text.replace(/(?<=FROM base AS (\S+)\n[^[]*(?:\[[^\]]*\]\n)?ENTRYPOINT )\[[^\]]*\]/g, entryPoint),
  "compose.yaml": (text) => {
    const [head, rest = ""] = text.split(/(?<=# <settings>\n)/);
    const end = rest.indexOf("  # </settings>");
    if (end < 0) throw new Error("Cannot write the variables of compose.yaml: it has no marks for them");
    return `${head}${variables().map((name) => `  ${name}:\n`).join("")}${rest.slice(end)}`;
  },
};

/** A stage's program with the permissions of its task. */
function entryPoint(_old: string, name: string): string {
  const tasks: Readonly<Record<string, string>> = project.tasks;
  const [deno, run, ...words] = (tasks[name === "test-client" ? "client" : name] ?? "").split(" ");
  return `[${[deno, run, "--cached-only", ...words].map((word) => JSON.stringify(word)).join(", \\\n  ")}]`;
}

/** Every variable that a setting is read from. */
export function variables(): readonly string[] {
  return settingPaths.flatMap((path) =>
    settings[path].secret ? [variableOf(path), `${variableOf(path)}_FILE`] : [variableOf(path)]
  );
}

function fill(page: string, name: string, table: string): string {
  const start = `<!-- ${name} -->\n`;
  const from = page.indexOf(start);
  const to = page.indexOf("<!-- end -->", from);
  if (from < 0 || to < 0) throw new Error(`Cannot write the table of ${name}: the page has no marks for it`);
  return `${page.slice(0, from)}${start}\n${table}\n${page.slice(to)}`;
}

function simulatorTable(): string {
  const rows = Object.entries(simulatedOutcomes).map(([name, { help }]) => `| \`${name}@\` | ${help} |`);
  return ["| Recipient | What becomes of it |", "|---|---|", ...rows, ""].join("\n");
}

function repliesTable(): string {
  const rows = Object.entries<Reply>(refusalReplies).map(([reason, { code, enhanced }]) =>
    `| ${code} ${enhanced ?? ""} | \`${reason}\` |`
  );
  return ["| Reply | Reason, as `smtp_refusals_total` counts it |", "|---|---|", ...rows.toSorted(), ""].join(
    "\n",
  );
}

function rolesTable(): string {
  const grades = [
    "owner",
    "admin",
    "member",
    "system_owner",
    "system_admin",
    "system_member",
  ] as const satisfies readonly Grade[];
  const rows = actions.map((action) => {
    const may = [...grades.map((grade) => gradeMay(grade, action)), isScope(action)];
    return `| \`${action}\` | ${may.map((yes) => yes ? "yes" : "-").join(" | ")} |`;
  });
  const names = [...grades.map((grade) => `\`${grade}\``), "key"];
  return [
    `| Action, and scope of a key | ${names.join(" | ")} |`,
    `|${"---|".repeat(names.length + 1)}`,
    ...rows,
    "",
  ].join("\n");
}
