/** A JSON object. */
export type Json = Readonly<Record<string, unknown>>;

/** What a strict service finds wrong with a request, and where. */
export class Complaint extends Error {
  constructor(message: string, field: string, readonly items: readonly Json[] = [{ message, field }]) {
    super(`${field}: ${message}`);
  }
}

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An object without any other keys; complains otherwise. */
export function known(value: unknown, at: string, keys: readonly string[]): Json {
  if (!isObject(value)) throw new Complaint("is no object", at);
  for (const key of Object.keys(value)) {
    if (!keys.includes(key)) throw new Complaint(`Additional property ${key} is not allowed`, at);
  }
  return value;
}

/** A list of so many items; complains otherwise. */
export function list(value: unknown, at: string, least: number, most = Infinity): readonly unknown[] {
  if (!Array.isArray(value)) throw new Complaint("is no array", at);
  if (value.length < least || value.length > most) throw new Complaint(`has ${value.length} items`, at);
  return value;
}

/** A string of such a length and form; complains otherwise. */
export function text(value: unknown, at: string, least: number, most = Infinity, form = /^/): string {
  if (typeof value !== "string") throw new Complaint("is no string", at);
  if (value.length < least || value.length > most) throw new Complaint(`has ${value.length} characters`, at);
  if (!form.test(value)) throw new Complaint("has a wrong form", at);
  return value;
}
