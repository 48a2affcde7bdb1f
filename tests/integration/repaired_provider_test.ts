import assert from "node:assert/strict";
import type { ProviderId } from "../../lib/ids.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import { allowOperatorCredentials } from "../../lib/providers/providers_table.ts";
import { newKeyText, parseKeys } from "../../lib/secrets/seal.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { httpServices } from "../support/http_services.ts";

const mail = "From: me@example.com\r\nTo: one@example.net\r\nSubject: a\r\n\r\ntext\r\n";

async function isMarked(room: DeliveryRoom): Promise<boolean> {
  const [row] = await room.owner.query(
    "select needs_attention_since is not null as marked, next_probe_at is not null as probed from provider_state",
    [],
  );
  assert.equal(row?.["marked"], row?.["probed"]);
  return row?.["marked"] === true;
}

async function markAnew(room: DeliveryRoom, id: ProviderId): Promise<void> {
  await room.owner.query(
    `insert into provider_state (provider_id, group_id, needs_attention_since, next_probe_at)
     select id, group_id, now(), now() + interval '1 minute' from esp_providers where id = $1
     on conflict (provider_id) do update set needs_attention_since = now(), next_probe_at = excluded.next_probe_at`,
    [id],
  );
  assert.equal(await isMarked(room), true);
}

Deno.test("a provider whose secret is put right gets the next message at once, not after the next probe", async () => {
  const open = httpServices["sendgrid"];
  assert.ok(open);
  await using service = await open();
  await using room = await DeliveryRoom.open();
  const keys = newKeyText("test");
  const wrong = await room.provider("sendgrid", service.settings, { secrets: service.wrongSecrets, keys });
  await using crew = room.crew({ keys: await parseKeys(keys) ?? [] });
  const first = await room.submit(["one@example.net"], mail);
  await room.deliver(first, crew);
  assert.equal(await room.statusOf(first), "queued");
  assert.equal(await isMarked(room), true);
  // A secret is bound to its provider: the right one is sealed for this very row.
  await room.provider("sendgrid", service.settings, { secrets: service.secrets, keys, of: wrong });
  assert.equal(await isMarked(room), false);
  const second = await room.submit(["one@example.net"], mail);
  await room.deliver(second, crew);
  assert.equal(await room.statusOf(second), "delivered");
});

Deno.test("a provider loses its mark by what may repair it, whoever changes it, and by nothing else", async () => {
  await using room = await DeliveryRoom.open();
  const id = await room.relay(25);
  const { group } = room.account;
  const open = (role: "smtp_proxy_group" | "smtp_proxy_admin") =>
    openDatabase({ url: room.databaseOf.urlFor(role), role, poolMax: 1 });
  await using members = open("smtp_proxy_group");
  await using admin = open("smtp_proxy_admin");
  await markAnew(room, id);
  await members.forGroup(group, (sql) => sql`update esp_providers set name = 'other', updated_at = now()`);
  await room.owner.run("update esp_providers set paused_at = now()");
  assert.equal(await isMarked(room), true);
  await members.forGroup(
    group,
    (sql) => sql`update esp_providers set settings = settings || '{"host": "127.0.0.2"}'`,
  );
  assert.equal(await isMarked(room), false);
  await markAnew(room, id);
  assert.equal(await allowOperatorCredentials(admin.system, id, true), true);
  assert.equal(await isMarked(room), false);
});
