import { z } from "zod";
import { accountSettings } from "./account_settings.ts";
import type { EspKind } from "./esp.ts";

/** The documentation's table of the settings that providers of every kind have. */
export function accountSettingsTable(): string {
  const { webhook: _unused, ...settings } = accountSettings;
  return tableOf(rowsOf(z.strictObject(settings), []));
}

/** The documentation's table of one kind's own settings; empty when it has none besides those of every kind. */
export function kindSettingsTable({ settings, secretKeys }: EspKind<unknown>): string {
  const rows = rowsOf(settings, secretKeys).filter(({ name }) => !(name in accountSettings));
  return rows.length === 0 ? "" : tableOf(rows);
}

/** A setting of a kind as people read of it. */
export interface SettingRow {
  readonly name: string;
  /** Its default, `required` or `optional`. */
  readonly when: string;
  readonly meaning: string;
}

/** A schema's settings in the order in which it names them; throws for one that does not describe itself. */
export function rowsOf(settings: z.ZodType, secretKeys: readonly string[]): readonly SettingRow[] {
  const schema = z.toJSONSchema(settings, { io: "input", unrepresentable: "any" });
  const required = new Set(schema.required);
  return Object.entries(schema.properties ?? {}).map(([name, property]) => {
    if (typeof property !== "object" || property.description === undefined) {
      throw new Error(`Cannot document settings: ${name} does not describe itself`);
    }
    const { default: value, description, enum: values } = property;
    const choice = values === undefined ? "" : ` (${values.map((one) => `\`${one}\``).join(", ")})`;
    const isNamed = values?.every((one) => description.includes(`\`${one}\``)) ?? true;
    return {
      name,
      when: value !== undefined
        ? `\`${value}\``
        : (required.has(name) ? "required" : "optional") + (secretKeys.includes(name) ? ", sealed" : ""),
      meaning: description + (isNamed ? "" : choice),
    };
  });
}

function tableOf(rows: readonly SettingRow[]): string {
  const lines = rows.map(({ name, when, meaning }) => `| \`${name}\` | ${when} | ${meaning} |`);
  return ["| Setting | Default | Meaning |", "|---|---|---|", ...lines, ""].join("\n");
}
