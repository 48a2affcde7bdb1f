import { z } from "@hono/zod-openapi";
import { Refusal } from "../../lib/refusal.ts";
import { scopes } from "./access/permissions.ts";

/** An id of one kind, in lower case; any other text is `invalid <noun> ID format`. */
export function idOf(noun: string) {
  return z.guid({ error: `invalid ${noun} ID format` }).toLowerCase().meta({
    format: "uuid",
    example: "019aa7e4-6f00-7000-8000-000000000000",
  });
}

/** A moment: RFC 3339 with zone; answers are always in UTC. */
export const moment = z.iso.datetime({
  offset: true,
  error: "times are RFC 3339, such as 2026-01-31T12:00:00Z",
});

/** A moment as answered. */
export function timeOf(date: Date): string;
export function timeOf(date: Date | null): string | null;
export function timeOf(date: Date | null): string | null {
  return date === null ? null : date.toISOString();
}

/** A moment as asked for. */
export function dateOf(text: string | undefined): Date | undefined {
  return text === undefined ? undefined : new Date(text);
}

/** The rank of a member. */
export const role = z.enum(["owner", "admin", "member"], {
  error: "role must be one of: owner, admin, member",
});

/** What an API key may be allowed. */
export const scope = z.enum(scopes);

const maxPage = 200;
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The parameters of a list. */
export const page = z.strictObject({
  limit: z.coerce.number().int().min(1).max(maxPage).optional().meta({
    description: `Items of a page: 50 when not given, at most ${maxPage}`,
  }),
  cursor: z.string().max(200).optional().meta({
    description: "Where the page begins: `X-Next-Cursor` of the page before",
  }),
});

/** A page as tables take it. */
export interface PageRequest {
  readonly after?: string;
  /** Of lists that are ordered by a number before the id. */
  readonly rank?: number;
  readonly limit: number;
}

const rank = /^-?\d{1,10}$/;

/** The page that a query asks for; `kind` names the list, so that no list takes another's cursor. */
export function pageOf(
  kind: string,
  query: { limit?: number | undefined; cursor?: string | undefined },
  isRanked = false,
): PageRequest {
  const limit = query.limit ?? 50;
  if (query.cursor === undefined) return { limit };
  const after = cursorText(query.cursor);
  const [named, id, place] = after?.split(" ") ?? [];
  const isPlace = isRanked ? place !== undefined && rank.test(place) : place === undefined;
  if (named !== kind || id === undefined || !uuid.test(id) || !isPlace) {
    throw new Refusal("request_invalid", "cursor is not one of this list", { field: "cursor" });
  }
  return { after: id, limit, ...(place !== undefined && { rank: Number(place) }) };
}

/**
 * The cursor behind a page's last item; undefined when the page was not full, so that nothing follows. With a rank it
 * holds also when the item is moved or removed meanwhile.
 */
export function nextCursor<Item extends { readonly id: string }>(
  kind: string,
  items: readonly Item[],
  limit: number,
  rankOf?: (item: Item) => number,
): string | undefined {
  const last = items.at(-1);
  if (last === undefined || items.length < limit) return undefined;
  const text = rankOf === undefined ? `${kind} ${last.id}` : `${kind} ${last.id} ${rankOf(last)}`;
  return new TextEncoder().encode(text).toBase64({ alphabet: "base64url", omitPadding: true });
}

/** A page of a list as it is answered. */
export function listOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item), "next_cursor": z.string().nullable() });
}

/** The answer of `listOf`: rows as `itemOf` writes them, and where the list goes on. */
export function listed<Row extends { readonly id: string }, Item>(
  kind: string,
  rows: readonly Row[],
  limit: number,
  itemOf: (row: Row) => Item,
): { items: Item[]; next_cursor: string | null } {
  return { items: rows.map(itemOf), "next_cursor": nextCursor(kind, rows, limit) ?? null };
}

/** Tells of the next page of a bare array, by `X-Next-Cursor` and `Link` (RFC 8288). */
export function linkNext(
  request: { setHeader(name: string, value: string): void; readonly raw: Request },
  cursor: string | undefined,
): void {
  if (cursor === undefined) return;
  const url = new URL(request.raw.url);
  url.searchParams.set("cursor", cursor);
  // Counted from the beginning, and not from the cursor.
  url.searchParams.delete("offset");
  request.setHeader("X-Next-Cursor", cursor);
  request.setHeader("Link", `<${url.pathname}${url.search}>; rel="next"`);
}

function cursorText(cursor: string): string | undefined {
  try {
    return new TextDecoder().decode(Uint8Array.fromBase64(cursor, { alphabet: "base64url" }));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
