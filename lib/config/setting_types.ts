import { z } from "zod";
import { parseCidr } from "../network/cidr.ts";
import { Secret } from "./secret.ts";

/** How a setting's value is read: from the text of a variable or from a YAML value. */
export type SettingType<Value> = z.ZodType<Value, unknown>;

function read<Value>(expected: string, parse: (text: string) => Value | undefined): SettingType<Value> {
  return z.unknown().transform((raw, context) => {
    const text = typeof raw === "string" || typeof raw === "number" || typeof raw === "boolean"
      ? String(raw).trim()
      : undefined;
    const value = text === undefined ? undefined : parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: "custom", message: `Expected ${expected}` });
    return z.NEVER;
  });
}

/** A text of at most 4096 characters. */
export const text: SettingType<string> = read("a text", (value) => value.length <= 4096 ? value : undefined);

/** A text that is not shown. */
export const secretText: SettingType<Secret> = read("a text", (value) => new Secret(value));

/** `true` or `false`; `on`, `yes`, `1` and their opposites are understood. */
export const yesOrNo: SettingType<boolean> = read("true or false", (value) => {
  if (/^(true|on|yes|1)$/i.test(value)) return true;
  return /^(false|off|no|0)$/i.test(value) ? false : undefined;
});

/** A whole number within limits, both included. */
export function whole(min: number, max: number): SettingType<number> {
  return read(`a whole number from ${min} to ${max}`, (value) => within(wholeNumber(value), min, max));
}

/** A TCP port; what 0 means is told by the setting. */
export const port: SettingType<number> = read(
  "a port from 0 to 65535",
  (value) => within(wholeNumber(value), 0, 65535),
);

/** A duration such as `500ms`, `30s`, `15m`, `72h`, `7d` or `1h30m`, as milliseconds; 0 needs no unit. */
export function duration(min: string, max: string): SettingType<number> {
  const [minMs, maxMs] = [parseDuration(min) ?? 0, parseDuration(max) ?? Infinity];
  return read(
    `a duration from ${min} to ${max} with its unit (ms, s, m, h, d)`,
    (value) => within(parseDuration(value), minMs, maxMs),
  );
}

/** A number of bytes: a whole number, `25MB` (1000 each step) or `64MiB` (1024 each step). */
export function bytes(min: string, max: string): SettingType<number> {
  const [least, most] = [parseBytes(min) ?? 0, parseBytes(max) ?? Infinity];
  return read(
    `a size from ${min} to ${max}, such as 26214400, 25MB or 64MiB`,
    (value) => within(parseBytes(value), least, most),
  );
}

/** One of the given words. */
export function oneOf<const Word extends string>(...words: readonly Word[]): SettingType<Word> {
  const named = words.map((word) => word === "" ? "nothing" : word).join(", ");
  return read(`one of ${named}`, (value) => words.find((word) => word === value.toLowerCase()));
}

/** A list: in YAML a sequence, or as text its items separated by commas. */
export function list<Item>(item: SettingType<Item>, min: number, max: number): SettingType<readonly Item[]> {
  return z.unknown().transform((raw) => typeof raw === "string" ? splitList(raw) : raw).pipe(
    z.array(item, { error: "Expected a list" })
      .min(min, { error: `Expected at least ${min} item(s)` })
      .max(max, { error: `Expected at most ${max} items` }),
  );
}

/** A network such as `10.0.0.0/8`, `fd00::/8` or a single address. */
export const network: SettingType<string> = read(
  "an address or a network such as 10.0.0.0/8",
  (value) => parseCidr(value) === undefined ? undefined : value.toLowerCase(),
);

/** The origin of a URL of HTTP, e.g. `https://mail.example.com:8443`; a path is no part of it. */
export const origin: SettingType<string> = read(
  "an origin such as https://mail.example.com:8443",
  (value) => {
    const url = URL.parse(value);
    if (url === null || !/^https?:$/.test(url.protocol)) return undefined;
    return value.replace(/\/$/, "").toLowerCase() === url.origin ? url.origin : undefined;
  },
);

function within(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}

function wholeNumber(value: string): number | undefined {
  return /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `1h30m`, `500ms` or `0`; undefined when it is not a duration. */
export function parseDuration(value: string): number | undefined {
  if (value === "0") return 0;
  if (!/^(\d{1,9}(\.\d{1,3})?(ms|s|m|h|d))+$/.test(value)) return undefined;
  const parts = value.matchAll(/([\d.]+)(ms|s|m|h|d)/g);
  return Math.round(
    parts.reduce((sum, [, count, unit]) => sum + Number(count) * (unitMs[unit ?? ""] ?? NaN), 0),
  );
}

/** Bytes of `26214400`, `25MB` or `64MiB`; undefined when it is not a size. */
export function parseBytes(value: string): number | undefined {
  const match = /^(\d{1,15})\s*([kmgt]?)(i?)b?$/i.exec(value);
  if (match === null) return undefined;
  const power = ["", "k", "m", "g", "t"].indexOf((match[2] ?? "").toLowerCase());
  if (power === 0 && match[3] !== "") return undefined;
  return Number(match[1]) * (match[3] === "" ? 1000 : 1024) ** power;
}

function splitList(value: string): readonly string[] {
  return value.split(",").map((item) => item.trim()).filter((item) => item !== "");
}
