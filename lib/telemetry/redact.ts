// The part before the sign is bounded, so that a long text without one costs little.
const mailbox = /[^\s<>@,;:"()[\]\\]{1,256}@(?=[\p{L}\p{N}[])/gu;
const longest = 32_768;

/** The text without the names in front of its `@` signs: `***@example.com`. */
export function redactMailboxes(text: string): string {
  return text.slice(0, longest).replace(mailbox, "***@");
}

/** Fields that say where a client is. */
const clientFields: ReadonlySet<string> = new Set(["remoteAddress", "helo"]);

/** A field's value without anybody's address: mailboxes keep their domain, clients are not shown at all. */
export function redactField(name: string, value: unknown): unknown {
  if (clientFields.has(name)) return "***";
  if (typeof value === "string") return redactMailboxes(value);
  if (Array.isArray(value)) return value.map((one) => redactField("", one));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, own]) => [key, redactField(key, own)]));
}
