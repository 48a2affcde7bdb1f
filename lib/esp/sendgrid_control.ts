import { z } from "zod";
import type { MessageField } from "../mime/parse.ts";

const text = z.string().max(255);
const control = z.object({
  category: z.union([text.transform((one) => [one]), z.array(text)]).optional().catch(undefined),
  unique_args: z.record(z.string().max(100), z.coerce.string().max(5000)).optional().catch(undefined),
  send_at: z.int().positive().optional().catch(undefined),
  asm_group_id: z.int().positive().optional().catch(undefined),
  ip_pool: z.string().min(2).max(64).optional().catch(undefined),
});

/** What a client may say to SendGrid beside the message. */
export interface SendgridControls {
  readonly categories?: readonly string[];
  readonly customArgs?: Readonly<Record<string, string>>;
  /** Seconds since 1970. */
  readonly sendAt?: number;
  readonly unsubscribeGroup?: number;
  readonly ipPool?: string;
}

const longestArgs = 9000;
const mostCategories = 10;

/** The wishes of X-SMTPAPI fields, for providers that pass them on; recipients and texts in them never count. */
export function controlsOf(fields: readonly MessageField[]): SendgridControls {
  const wishes: z.output<typeof control>[] = [];
  for (const { name, value } of fields) {
    if (name.toLowerCase() === "x-smtpapi") wishes.push(...wishesIn(value));
  }
  const categories = [...new Set(wishes.flatMap(({ category = [] }) => category))].filter(isCategory);
  const args = Object.assign({}, ...wishes.map(({ unique_args = {} }) => unique_args)) as Record<
    string,
    string
  >;
  const last = Object.assign({}, ...wishes) as z.output<typeof control>;
  return {
    ...(categories.length === 0 ? {} : { categories: categories.slice(0, mostCategories) }),
    ...(JSON.stringify(args).length > longestArgs || Object.keys(args).length === 0
      ? {}
      : { customArgs: args }),
    ...(last.send_at === undefined ? {} : { sendAt: last.send_at }),
    ...(last.asm_group_id === undefined ? {} : { unsubscribeGroup: last.asm_group_id }),
    ...(last.ip_pool === undefined ? {} : { ipPool: last.ip_pool }),
  };
}

function wishesIn(value: string): readonly z.output<typeof control>[] {
  try {
    const parsed = control.safeParse(JSON.parse(value));
    return parsed.success ? [parsed.data] : [];
  } catch (error) {
    // SendGrid itself would refuse the mail for it, a field that means nothing here does no harm.
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}

function isCategory(category: string): boolean {
  return /^[\x20-\x7e]{1,255}$/.test(category);
}
