declare const brand: unique symbol;
type Id<Name extends string> = string & { readonly [brand]: Name };

/** A tenant's id. */
export type GroupId = Id<"group">;
/** A human's or an SMTP identity's id. */
export type UserId = Id<"user">;
/** The id of one group's configured account with an ESP. */
export type ProviderId = Id<"provider">;
/** A message's id: UUIDv7, chosen by whoever accepts the message, the same everywhere. */
export type MessageId = Id<"message">;
/** The id of one call to an ESP: the row that is committed before the call is made. */
export type CallId = Id<"call">;
/** The id of a record of what was refused at SMTP: UUIDv7 of the moment of the refusal. */
export type RefusedSubmissionId = Id<"refused submission">;
/** A recipient's position in its message's envelope, from 1. */
export type RecipientId = number & { readonly [brand]: "recipient" };

/** Below every id; where a list that goes up begins. */
export const firstId = "00000000-0000-0000-0000-000000000000";
/** Above every id; where a list that goes down begins, so that first and later pages are one statement by index. */
export const lastId = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/** A new time-ordered id (UUIDv7, RFC 9562 section 5.7); ids of one process are strictly increasing. */
export function newId<Kind extends Id<string>>(): Kind {
  const now = Math.max(Date.now(), lastMs);
  if (drawnAt === drawn.length) {
    crypto.getRandomValues(drawn);
    drawnAt = 0;
  }
  const random = drawn.subarray(drawnAt, drawnAt += randomSize);
  counter = now === lastMs ? counter + 1 : ((random[8] ?? 0) & 7) << 8 | (random[9] ?? 0);
  lastMs = counter > 0xfff ? now + 1 : now;
  if (counter > 0xfff) counter = 0;
  random[0] = 0x80 | ((random[0] ?? 0) & 0x3f);
  return dashed(
    lastMs.toString(16).padStart(12, "0") + "7" + counter.toString(16).padStart(3, "0") +
      random.subarray(0, 8).toHex(),
  ) as Kind;
}
let lastMs = 0;
let counter = 0;
const randomSize = 10;
/** Random bytes for the next ids: a draw costs the same for many as for one. */
const drawn = new Uint8Array(100 * randomSize);
let drawnAt = drawn.length;

function dashed(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** When a UUIDv7 was made, in milliseconds since 1970. */
export function timeOfId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** The smallest UUIDv7 of a moment: every id made at or after it compares greater or equal. */
export function firstIdAt(ms: number): string {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}
