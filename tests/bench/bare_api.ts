// The yardstick of the API's cases: hono and the database alone. The statements are the product's own, run by a
// superuser without authentication, transaction or row-level security; nothing is checked and nothing is told.
// Arguments: URL of the database, in which the login's `app.current_group_id` is set, and that group.
import { Hono } from "hono";
import { writeSync } from "node:fs";
import { findGroup } from "../../lib/groups/group_entries_table.ts";
import { type GroupId, lastId, type MessageId } from "../../lib/ids.ts";
import { findMessage, listCalls, listEvents, listRecipients } from "../../lib/messages/history_table.ts";
import { listMessages } from "../../lib/messages/listing_table.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import type { GroupSql } from "../../lib/postgres/sql.ts";

const [url = "", ownGroup = ""] = Deno.args;
const database = openDatabase({ url, poolMax: 20 });
const sql = database.system as unknown as GroupSql;
const group = ownGroup as GroupId;

const app = new Hono();
app.get("/groups/:id", async (c) => c.json((await findGroup(sql, c.req.param("id") as GroupId)) ?? null));
app.get("/messages/:id", async (c) => {
  const id = c.req.param("id") as MessageId;
  const [message, ...rest] = await Promise.all([
    findMessage(sql, group, id),
    listRecipients(sql, group, id, { after: 0, limit: 1000 }),
    listCalls(sql, group, id, 200),
    listEvents(sql, group, id, 500),
  ]);
  return c.json({ message, rest });
});
app.get("/messages", async (c) => {
  const after = c.req.query("after") ?? lastId;
  return c.json(await listMessages(sql, group, {}, { after, limit: 50 }));
});
Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => void writeSync(1, JSON.stringify({ listening: port }) + "\n"),
}, app.fetch);
