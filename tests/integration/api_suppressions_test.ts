import assert from "node:assert/strict";
import type { EspEvent } from "../../lib/esp/event.ts";
import { storeEvents } from "../../lib/events/webhooks_table.ts";
import { type GroupId, newId, type ProviderId, type UserId } from "../../lib/ids.ts";
import { addSuppression, addSuppressions } from "../../lib/suppressions/suppressions_table.ts";
import { addGroup, addPerson, type TestApi, testApi } from "../support/api.ts";
import { addSent, asSuperuser, type SentMessage, tenant } from "../support/webhook_scene.ts";

const path = "/api/v1/suppressions";

Deno.test("POST /suppressions writes an address as recipients are written, once, and tells of it", async () => {
  await using api = await testApi();
  const alpha = await addGroup(api, "alpha");
  const user = await addPerson(api, "admin@alpha.example", [[alpha, "admin"]]);
  const token = await api.login("admin@alpha.example");
  const add = (body: unknown) => api.ask("POST", path, { token, body });
  const { status, body } = await add({ address: " Some.Body+x@B\u00fccher.Example ", note: "asked us to" });
  assert.equal(status, 200, JSON.stringify(body));
  const { id, created_at: at, ...rest } = body;
  assert.deepEqual(rest, {
    address: "some.body+x@xn--bcher-kva.example",
    reason: "manual",
    note: "asked us to",
    "created_by": user,
  });
  assert.match(at, /^\d{4}-.*Z$/);
  const again = await add({ address: "SOME.BODY+X@xn--bcher-kva.example", reason: "bounce" });
  assert.deepEqual([again.status, again.body], [200, body]);
  for (
    const [wrong, field] of [
      [{}, "address"],
      [{ address: "nobody" }, "address"],
      [{ address: "a@b.example", reason: "dislike" }, "reason"],
      [{ address: "a@b.example", note: "x".repeat(501) }, "note"],
    ] as const
  ) {
    const refused = await add(wrong);
    assert.deepEqual([refused.status, refused.body.field], [400, field], JSON.stringify(refused.body));
  }
  assert.equal((await api.ask("DELETE", `${path}/${id}`, { token })).status, 204);
  assert.equal((await api.ask("DELETE", `${path}/${id}`, { token })).status, 404);
  const told = await asSuperuser(
    api,
    "select action, resource_id, changes from activity_logs where resource_type = 'suppression' order by id",
  );
  const changes = { address: "some.body+x@xn--bcher-kva.example", reason: "manual", note: "asked us to" };
  assert.deepEqual(told, [
    { action: "suppression.create", "resource_id": id, changes },
    { action: "suppression.delete", "resource_id": id, changes },
  ]);
  assert.deepEqual(api.faults, []);
});

Deno.test("POST /suppressions of one address by many at once adds it once", async () => {
  await using api = await testApi();
  const alpha = await addGroup(api, "alpha");
  await addPerson(api, "admin@alpha.example", [[alpha, "admin"]]);
  const token = await api.login("admin@alpha.example");
  const body = { address: "a@b.example" };
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => api.ask("POST", path, { token, body })),
  );
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
  assert.equal(
    (await asSuperuser(api, "select from activity_logs where action = 'suppression.create'")).length,
    1,
  );
});

Deno.test("POST /suppressions/import adds many addresses at once, each once, and tells of it in one activity", async () => {
  await using api = await testApi();
  const [alpha, beta] = [await addGroup(api, "alpha"), await addGroup(api, "beta")];
  const user = await addPerson(api, "admin@alpha.example", [[alpha, "admin"]]);
  const token = await api.login("admin@alpha.example");
  const add = (body: unknown) => api.ask("POST", `${path}/import`, { token, body });
  await asSuperuser(
    api,
    "insert into suppressions (group_id, address, reason) values ($1, 'known@x.example', 'bounce'), ($2, 'a@x.example', 'bounce')",
    [alpha, beta],
  );
  const addresses = ["b@x.example", "A@X.example", "known@x.example", "a@x.example", "c@b\u00fccher.example"];
  const { status, body } = await add({ addresses, reason: "unsubscribe", note: "an old list" });
  assert.deepEqual([status, body], [200, { added: 3, known: 2 }]);
  assert.deepEqual((await add({ addresses })).body, { added: 0, known: 5 });
  assert.deepEqual((await addressesOf(api, alpha)).sort(), [
    "a@x.example unsubscribe",
    "b@x.example unsubscribe",
    "c@xn--bcher-kva.example unsubscribe",
    "known@x.example bounce",
  ]);
  assert.deepEqual(await addressesOf(api, beta), ["a@x.example bounce"]);
  const told = await asSuperuser(
    api,
    "select actor_id, action, changes from activity_logs where group_id = $1",
    [
      alpha,
    ],
  );
  assert.deepEqual(told.filter(({ action }) => String(action).startsWith("suppression")), [{
    "actor_id": user,
    action: "suppression.import",
    changes: { added: 3, reason: "unsubscribe", note: "an old list" },
  }]);
  for (const wrong of [[], ["nobody"], Array.from({ length: 1001 }, (_, n) => `${n}@x.example`)]) {
    assert.equal((await add({ addresses: wrong })).status, 400);
  }
  assert.deepEqual(api.faults, []);
});

Deno.test("addSuppression() and addSuppressions() refuse what is more than a group may have, and then add nothing", async () => {
  await using api = await testApi();
  const group = await addGroup(api, "alpha") as GroupId;
  const createdBy = await addPerson(api, "admin@alpha.example", [[group, "admin"]]) as UserId;
  const wish = { reason: "manual", note: undefined, createdBy } as const;
  const { group: database } = api.databases;
  const many = (...addresses: string[]) =>
    database.forGroup(group, (sql) => addSuppressions(sql, group, { addresses, ...wish }, 3));
  const one = (address: string) =>
    database.forGroup(group, (sql) => addSuppression(sql, group, { address, ...wish }, 3));
  assert.equal(await many("a@x.example", "b@x.example"), 2);
  await assert.rejects(many("c@x.example", "d@x.example"), { code: "too_many" });
  assert.equal((await one("c@x.example")).isNew, true);
  await assert.rejects(one("d@x.example"), { code: "too_many" });
  // What is on the list needs no room.
  assert.equal((await one("c@x.example")).isNew, false);
  assert.equal(await many("a@x.example"), 0);
  assert.equal((await addressesOf(api, group)).length, 3);
});

Deno.test("GET /suppressions pages and filters a group's own list", async () => {
  await using api = await testApi();
  const [alpha, beta] = [await addGroup(api, "alpha"), await addGroup(api, "beta")];
  for (const [name, group] of [["alpha", alpha], ["beta", beta]] as const) {
    await addPerson(api, `admin@${name}.example`, [[group, "admin"]]);
  }
  await asSuperuser(
    api,
    `insert into suppressions (group_id, address, reason)
      select $1, n || '@there.example', case when n % 3 = 0 then 'bounce' else 'manual' end
      from generate_series(1, 12) n`,
    [alpha],
  );
  const [token, foreign] = [await api.login("admin@alpha.example"), await api.login("admin@beta.example")];
  const list = async (query: string, who = token) => {
    const { status, body } = await api.ask("GET", `${path}?${query}`, { token: who });
    assert.equal(status, 200, JSON.stringify(body));
    return {
      addresses: body.items.map((item: { address: string }) => item.address.split("@")[0]),
      next: body.next_cursor,
    };
  };
  const first = await list("limit=8");
  const second = await list(`limit=8&cursor=${first.next}`);
  const newestFirst = Array.from({ length: 12 }, (_, n) => String(12 - n));
  assert.deepEqual([...first.addresses, ...second.addresses], newestFirst);
  assert.equal(second.next, null);
  assert.deepEqual((await list("reason=bounce")).addresses, ["12", "9", "6", "3"]);
  assert.deepEqual((await list("reason=bounce&limit=2")).addresses, ["12", "9"]);
  assert.deepEqual((await list("address=4@THERE.example")).addresses, ["4"]);
  assert.deepEqual((await list("address=4@there.example&reason=bounce")).addresses, []);
  assert.deepEqual((await list("", foreign)).addresses, []);
});

/** One report about the first recipient of a message. */
function eventOf(sent: SentMessage, kind: EspEvent["kind"], data: EspEvent["data"] = {}): EspEvent {
  return {
    kind,
    externalId: crypto.randomUUID(),
    occurredAt: new Date(),
    recipient: "To@there.example",
    messageId: sent.message,
    callId: sent.call,
    data,
  };
}

async function addressesOf(api: TestApi, group: string) {
  const rows = await asSuperuser(
    api,
    "select address, reason from suppressions where group_id = $1 order by id",
    [group],
  );
  return rows.map(({ address, reason }) => `${address} ${reason}`);
}

Deno.test("a reported hard bounce or complaint suppresses its address where the group says so", async () => {
  await using api = await testApi();
  const owner = await tenant(api, "alpha", { "provider_type": "simulator" });
  const provider = owner.provider as ProviderId;
  const report = async (event: EspEvent) => {
    assert.equal(await storeEvents(api.databases.login.system, provider, [event]), 1);
  };
  const hard = { permanent: true };
  const addresses = ["To@there.example"];
  await report(eventOf(await addSent(api, owner, { addresses }), "bounced", hard));
  assert.deepEqual(await addressesOf(api, owner.group), [], "off unless somebody switches it on");
  const { token } = owner;
  const group = `/api/v1/groups/${owner.group}`;
  const changed = await api.ask("PATCH", group, { token, body: { "suppress_reported": true } });
  assert.deepEqual([changed.status, changed.body.suppress_reported], [200, true]);
  const sent = await addSent(api, owner, { addresses });
  for (const kind of ["deferred", "delivered", "opened", "unsubscribed"] as const) {
    await report(eventOf(sent, kind));
  }
  await report(eventOf(sent, "bounced", { permanent: false }));
  assert.deepEqual(await addressesOf(api, owner.group), []);
  await report(eventOf(sent, "bounced", hard));
  await report(eventOf(sent, "complained"));
  assert.deepEqual(await addressesOf(api, owner.group), ["to@there.example bounce"]);
  const [told, ...more] = await asSuperuser(
    api,
    "select actor_id, changes from activity_logs where action = 'suppression.create'",
  );
  assert.deepEqual(more, []);
  assert.deepEqual(told, {
    "actor_id": null,
    changes: { address: "to@there.example", reason: "bounce", "message_id": sent.message },
  });
  const other = await addSent(api, owner, { addresses: ["to@there.example", "third@there.example"] });
  const third = { ...eventOf(other, "complained"), recipient: "third@there.example" };
  await report(third);
  assert.deepEqual(await addressesOf(api, owner.group), [
    "to@there.example bounce",
    "third@there.example complaint",
  ]);
  // What names nobody suppresses nobody.
  const { recipient: _, ...nameless } = eventOf(other, "complained");
  await report({ ...nameless, externalId: newId<never>() as string });
  assert.equal((await addressesOf(api, owner.group)).length, 2);
  const [row] = await asSuperuser(api, "select has_suppressions from groups where id = $1", [owner.group]);
  assert.equal(row?.["has_suppressions"], true);
});

Deno.test("GET /messages/{id} says of a recipient that it was suppressed, and why", async () => {
  await using api = await testApi();
  const owner = await tenant(api, "alpha", { "provider_type": "simulator" });
  const addresses = ["one@there.example", "two@there.example"];
  const sent = await addSent(api, owner, { addresses });
  await asSuperuser(
    api,
    `update recipients set status = 'suppressed', call_id = null, fault_code = 'suppressed', fault_detail = 'On the list'
      where message_id = $1 and position = 2`,
    [sent.message],
  );
  const { body } = await api.ask("GET", `/api/v1/messages/${sent.message}`, { token: owner.token });
  const [one, two] = body.recipients;
  assert.deepEqual([body.status, one.status, one.fault_code], ["delivered", "accepted", null]);
  assert.deepEqual([two.status, two.fault_code, two.fault_detail, two.call_id], [
    "suppressed",
    "suppressed",
    "On the list",
    null,
  ]);
});
