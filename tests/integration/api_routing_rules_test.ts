import assert from "node:assert/strict";
import type { GroupId } from "../../lib/ids.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { addGroup, addPerson, type TestApi, testApi } from "../support/api.ts";
import { twoGroups } from "../support/two_groups.ts";

const rules = "/api/v1/routing-rules";

async function sql(api: TestApi, text: string, values: readonly unknown[] = []) {
  await using session = await openSession({ url: api.database.ownerUrl });
  return await session.query(text, values);
}

async function provider(api: TestApi, group: GroupId, name: string): Promise<string> {
  const [row] = await sql(
    api,
    "insert into esp_providers (group_id, name, provider_type) values ($1, $2, 'smtp') returning id",
    [group, name],
  );
  return String(row?.["id"]);
}

async function company(api: TestApi, name: string) {
  const group = await addGroup(api, name);
  const user = await addPerson(api, `admin@${name}.example`, [[group, "admin"]]);
  const token = await api.login(`admin@${name}.example`);
  const providers = [
    await provider(api, group, "first"),
    await provider(api, group, "second"),
    await provider(api, group, "third"),
  ] as const;
  return { group, user, token, providers };
}

Deno.test("a rule is created, read, replaced and deleted as documented, and each change is told", async () => {
  await using api = await testApi();
  const { group, user, token, providers: [first, second] } = await company(api, "acme");
  const made = await api.ask("POST", rules, { token, body: { priority: 10, "provider_id": first } });
  assert.equal(made.status, 201);
  const { id, created_at: created, updated_at: updated, ...rest } = made.body;
  assert.deepEqual(rest, {
    "group_id": group,
    priority: 10,
    conditions: {},
    "provider_id": first,
    providers: [{ "provider_id": first, weight: null }],
    enabled: true,
  });
  assert.ok(created.endsWith("Z") && updated.endsWith("Z"));
  const path = `${rules}/${id}`;
  assert.deepEqual((await api.ask("GET", path, { token })).body, made.body);
  const off = await api.ask("PUT", path, { token, body: { "provider_id": first, enabled: false } });
  assert.deepEqual([off.status, off.body.enabled, off.body.priority], [200, false, 0]);
  const replaced = await api.ask("PUT", path, {
    token,
    body: {
      priority: 3,
      conditions: { "recipient_domain": ["*.example.net"], header: { name: "X-Campaign" } },
      providers: [{ "provider_id": second, weight: 20 }, { "provider_id": first, weight: 80 }],
    },
  });
  assert.deepEqual([replaced.status, replaced.body.provider_id, replaced.body.enabled], [200, second, false]);
  assert.deepEqual(replaced.body.providers, [{ "provider_id": second, weight: 20 }, {
    "provider_id": first,
    weight: 80,
  }]);
  assert.deepEqual(replaced.body.conditions, {
    "recipient_domain": ["*.example.net"],
    header: { name: "X-Campaign" },
  });
  assert.equal((await api.ask("DELETE", path, { token })).status, 204);
  for (const method of ["GET", "DELETE"]) {
    const gone = await api.ask(method, path, { token });
    assert.deepEqual([gone.status, gone.body.error], [404, "routing rule not found"]);
  }
  const told = (await api.ask("GET", `/api/v1/groups/${group}/activity`, { token })).body as {
    readonly action: string;
    readonly actor_id: string;
    readonly resource_id: string;
    readonly changes: Record<string, unknown>;
  }[];
  const changes = told.filter(({ action }) => action.startsWith("routing_rule."));
  assert.deepEqual(changes.map((one) => [one.action, one.actor_id, one.resource_id]), [
    ["routing_rule.delete", user, id],
    ["routing_rule.update", user, id],
    ["routing_rule.update", user, id],
    ["routing_rule.create", user, id],
  ]);
  assert.deepEqual(changes[2]?.changes, { priority: [10, 0], enabled: [true, false] });
  assert.deepEqual(api.faults, []);
});

Deno.test("rules are listed in the order in which they are asked, page by page", async () => {
  await using api = await testApi();
  const { token, providers: [first] } = await company(api, "acme");
  const priorities = [5, -1, 5, 0, 1_000_000_000, -1_000_000_000];
  for (const priority of priorities) {
    const made = await api.ask("POST", rules, { token, body: { priority, "provider_id": first } });
    assert.equal(made.status, 201);
  }
  const listed: number[] = [];
  let path: string | undefined = `${rules}?limit=2`;
  while (path !== undefined) {
    const answer = await api.ask("GET", path, { token });
    assert.equal(answer.status, 200);
    listed.push(...answer.body.map((rule: { priority: number }) => rule.priority));
    path = /<([^>]+)>/.exec(answer.headers.get("link") ?? "")?.[1];
  }
  assert.deepEqual(listed, priorities.toSorted((a, b) => a - b));
});

Deno.test("the list of rules goes on where it was although its last rule is moved or gone", async () => {
  await using api = await testApi();
  const { token, providers: [first] } = await company(api, "acme");
  const ids: string[] = [];
  for (const priority of [1, 2, 3, 4]) {
    const made = await api.ask("POST", rules, { token, body: { priority, "provider_id": first } });
    ids.push(made.body.id);
  }
  const next = async (path: string) => {
    const answer = await api.ask("GET", path, { token });
    assert.equal(answer.status, 200);
    const link = /<([^>]+)>/.exec(answer.headers.get("link") ?? "")?.[1] ?? "";
    return { ids: answer.body.map(({ id }: { id: string }) => id), link };
  };
  const { link } = await next(`${rules}?limit=2`);
  const moved = { priority: 9, "provider_id": first };
  assert.equal((await api.ask("PUT", `${rules}/${ids[1]}`, { token, body: moved })).status, 200);
  assert.deepEqual((await next(link)).ids, [ids[2], ids[3]]);
  assert.equal((await api.ask("DELETE", `${rules}/${ids[1]}`, { token })).status, 204);
  assert.deepEqual((await next(link)).ids, [ids[2], ids[3]]);
  const text = (one: string) => new TextEncoder().encode(one).toBase64({ alphabet: "base64url" });
  for (const cursor of [`routing_rules ${ids[0]}`, `routing_rules ${ids[0]} x`, `users ${ids[0]} 1`]) {
    assert.equal((await api.ask("GET", `${rules}?cursor=${text(cursor)}`, { token })).status, 400, cursor);
  }
  const far = await api.ask("GET", `${rules}?cursor=${text(`routing_rules ${ids[0]} 9999999999`)}`, {
    token,
  });
  assert.deepEqual([far.status, far.body], [200, []]);
  assert.deepEqual(api.faults, []);
});

Deno.test("a rule that could not work as written is refused with the reason", async () => {
  await using api = await testApi();
  const { token, providers: [first, second] } = await company(api, "acme");
  const one = { "provider_id": first };
  const cases: readonly (readonly [unknown, number, string | undefined, RegExp])[] = [
    [{}, 400, "provider_id", /^provider_id is required$/],
    [{ "provider_id": "x" }, 400, "provider_id", /^invalid provider_id format$/],
    [{ "provider_id": crypto.randomUUID() }, 404, "provider_id", /^provider not found$/],
    [{ ...one, conditions: { "sender_domain": "a.example" } }, 400, undefined, /sender_domain/],
    [{ ...one, conditions: { sender: "two words" } }, 400, undefined, /./],
    [{ ...one, conditions: { time: { zone: "Mars/Olympus" } } }, 400, "conditions.time.zone", /IANA/],
    [{ ...one, weight: 3 }, 400, undefined, /weight/],
    [{ ...one, priority: 1.5 }, 400, "priority", /./],
    [{ ...one, providers: [{ "provider_id": second }] }, 400, "provider_id", /first of providers/],
    [{ providers: [one, one] }, 400, "providers", /twice/],
    [{ providers: [] }, 400, "providers", /./],
    [{ providers: [{ ...one, weight: 5 }, { "provider_id": second }] }, 400, "providers", /weight/],
    [{ providers: [{ ...one, weight: 0 }] }, 400, "providers", /above 0/],
    [{ providers: [{ ...one, weight: 101 }] }, 400, "providers.0.weight", /./],
  ];
  for (const [body, status, field, sentence] of cases) {
    const answer = await api.ask("POST", rules, { token, body });
    assert.equal(answer.status, status, JSON.stringify(body));
    assert.match(answer.body.error, sentence);
    if (field !== undefined) assert.equal(answer.body.field, field, JSON.stringify(answer.body));
  }
  const malformed = await api.ask("GET", `${rules}/x`, { token });
  assert.deepEqual([malformed.status, malformed.body.error], [400, "invalid routing rule ID format"]);
  assert.deepEqual((await api.ask("GET", rules, { token })).body, []);
  assert.deepEqual(api.faults, []);
});

Deno.test("another tenant's provider is not found, whether a rule is made or changed, and nothing is written", async () => {
  await using api = await testApi();
  const acme = await company(api, "acme");
  const other = await company(api, "other");
  const { token, providers: [own] } = acme;
  const [foreign] = other.providers;
  for (
    const body of [{ "provider_id": foreign }, {
      providers: [{ "provider_id": own }, { "provider_id": foreign }],
    }]
  ) {
    const made = await api.ask("POST", rules, { token, body });
    assert.deepEqual([made.status, made.body.error], [404, "provider not found"]);
  }
  const rule = await api.ask("POST", rules, { token, body: { "provider_id": own } });
  const path = `${rules}/${rule.body.id}`;
  assert.equal((await api.ask("PUT", path, { token, body: { "provider_id": foreign } })).status, 404);
  assert.deepEqual((await api.ask("GET", path, { token })).body, rule.body);
  for (const method of ["GET", "DELETE"]) {
    assert.equal((await api.ask(method, path, { token: other.token })).status, 404);
  }
  const body = { "provider_id": foreign };
  assert.equal((await api.ask("PUT", path, { token: other.token, body })).status, 404);
  assert.equal((await api.ask("GET", rules, { token })).body.length, 1);
  assert.deepEqual(api.faults, []);
});

Deno.test("a group has a thousand rules and no more, however many are made at once", async () => {
  await using api = await testApi();
  const { group, token, providers: [first] } = await company(api, "acme");
  await sql(api, "insert into routing_rules (group_id) select $1 from generate_series(1, 998)", [group]);
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => api.ask("POST", rules, { token, body: { "provider_id": first } })),
  );
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 201, 409, 409, 409]);
});

Deno.test("the conditions of a group's rules are bounded in all, so that no message takes long to route", async () => {
  await using api = await testApi();
  const { token, providers: [first] } = await company(api, "acme");
  const sender = Array.from({ length: 100 }, (_, index) => `${"x".repeat(190)}${index}.example`);
  const body = { conditions: { sender }, "provider_id": first };
  const made: string[] = [];
  let answer = await api.ask("POST", rules, { token, body });
  for (; answer.status === 201; answer = await api.ask("POST", rules, { token, body })) {
    made.push(answer.body.id);
  }
  assert.deepEqual([answer.status, answer.body.code, answer.body.field], [409, "too_many", "conditions"]);
  assert.equal(made.length, 3);
  const path = `${rules}/${made[0]}`;
  assert.equal((await api.ask("PUT", path, { token, body })).status, 200, "its own are not counted twice");
  const more = { ...body, conditions: { sender, "recipient_domain": sender } };
  assert.equal((await api.ask("PUT", path, { token, body: more })).status, 409);
});

Deno.test("a change of a rule raises the group's revision, so that workers plan by it at once", async () => {
  await using api = await testApi();
  const { group, token, providers: [first] } = await company(api, "acme");
  const revision = async () =>
    Number((await sql(api, "select revision from groups where id = $1", [group]))[0]?.["revision"]);
  const revisions = [await revision()];
  const { body } = await api.ask("POST", rules, { token, body: { "provider_id": first } });
  revisions.push(await revision());
  await api.ask("PUT", `${rules}/${body.id}`, { token, body: { "provider_id": first, priority: 2 } });
  revisions.push(await revision());
  await api.ask("DELETE", `${rules}/${body.id}`, { token });
  revisions.push(await revision());
  assert.deepEqual(revisions, [...new Set(revisions)].sort((a, b) => a - b));
});

Deno.test("a described message is explained recipient by recipient: what matched, what did not and why", async () => {
  await using api = await testApi();
  const { token, providers: [first, second, third] } = await company(api, "acme");
  const make = async (body: Record<string, unknown>) => {
    const made = await api.ask("POST", rules, { token, body });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    return made.body.id as string;
  };
  const campaign = await make({
    priority: 1,
    conditions: { header: { name: "X-Campaign", matches: "spring*" }, "header_from": "*.acme.example" },
    "provider_id": third,
  });
  const net = await make({
    priority: 2,
    conditions: { "recipient_domain": "example.net" },
    providers: [{ "provider_id": second }, { "provider_id": third }],
  });
  await make({ priority: 0, "provider_id": third, enabled: false });
  const message = {
    sender: "news@acme.example",
    recipients: ["a@example.net", "b@example.org"],
    headers: [{ name: "From", value: "News <news@mail.acme.example>" }, {
      name: "X-Campaign",
      value: "autumn",
    }],
  };
  const answer = await api.ask("POST", `${rules}/test`, { token, body: { message } });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  const [toNet, toOrg] = answer.body.recipients;
  assert.deepEqual([toNet.recipient, toNet.rule_id, toNet.decided], ["a@example.net", net, true]);
  assert.deepEqual(toNet.route, [
    { "provider_id": second, name: "second", "provider_type": "smtp" },
    { "provider_id": third, name: "third", "provider_type": "smtp" },
  ]);
  assert.deepEqual(toNet.rules, [
    {
      "rule_id": campaign,
      priority: 1,
      result: "not_matched",
      conditions: [
        { condition: "header_from", met: true, actual: ["news@mail.acme.example"] },
        { condition: "header", met: false, actual: { name: "X-Campaign", values: ["autumn"] } },
      ],
    },
    {
      "rule_id": net,
      priority: 2,
      result: "matched",
      conditions: [{ condition: "recipient_domain", met: true, actual: "example.net" }],
    },
  ]);
  assert.deepEqual([toOrg.rule_id, toOrg.route.length, toOrg.route[0].provider_id], [null, 1, first]);
  const spring = { ...message, headers: [message.headers[0], { name: "x-campaign", value: "Spring 1" }] };
  const other = await api.ask("POST", `${rules}/test`, { token, body: { message: spring } });
  assert.deepEqual(other.body.recipients.map((one: { rule_id: string }) => one.rule_id), [
    campaign,
    campaign,
  ]);
  const { headers: _, ...bare } = message;
  const unknown = await api.ask("POST", `${rules}/test`, { token, body: { message: bare } });
  const [unsure] = unknown.body.recipients;
  assert.deepEqual([unsure.decided, unsure.route, unsure.rules[0].result, unsure.rules[1].result], [
    false,
    [],
    "unknown",
    "not_asked",
  ]);
  for (const body of [{}, { message, "message_id": crypto.randomUUID() }, { message: { sender: "" } }]) {
    assert.equal((await api.ask("POST", `${rules}/test`, { token, body })).status, 400);
  }
  assert.deepEqual(api.faults, []);
});

Deno.test("a stored message is explained by what its rows tell, and another tenant's is not found", async () => {
  await using api = await testApi();
  const [alpha, beta] = await twoGroups(api.database.ownerUrl);
  await addPerson(api, "m@alpha.example", [[alpha.group, "member"]]);
  const token = await api.login("m@alpha.example");
  await sql(api, "update routing_rules set conditions = $1 where id = $2", [
    JSON.stringify({
      sender: "*@alpha.example",
      "smtp_account": alpha.user,
      size: { max: 4 },
      subject: "Hi*",
    }),
    alpha.rule,
  ]);
  await sql(api, "update messages set subject = 'Hi there' where id = $1", [alpha.message]);
  const ask = (id: string) => api.ask("POST", `${rules}/test`, { token, body: { "message_id": id } });
  const answer = await ask(alpha.message);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  assert.equal(answer.body.message_id, alpha.message);
  const [explained] = answer.body.recipients;
  assert.deepEqual([explained.recipient, explained.rule_id], ["b@alpha.example", alpha.rule]);
  assert.deepEqual(explained.route.map((one: { provider_id: string }) => one.provider_id), [alpha.provider]);
  await sql(api, `update routing_rules set conditions = '{"attachment": true}' where id = $1`, [alpha.rule]);
  const undecided = (await ask(alpha.message)).body.recipients[0];
  assert.deepEqual([undecided.decided, undecided.rules[0].conditions], [
    false,
    [{ condition: "attachment", met: null, actual: null }],
  ], "a member may not read bodies");
  await sql(api, `update routing_rules set conditions = '{"phase_of_moon": "new"}' where id = $1`, [
    alpha.rule,
  ]);
  const skipped = (await ask(alpha.message)).body.recipients[0];
  assert.deepEqual([skipped.rule_id, skipped.decided, skipped.rules[0].result], [null, true, "skipped"]);
  for (const id of [beta.message, crypto.randomUUID()]) {
    const missing = await ask(id);
    assert.deepEqual([missing.status, missing.body.error], [404, "message not found"]);
  }
  assert.deepEqual(api.faults, []);
});

Deno.test("those who may read bodies are told what only a stored message's body says, and that is an activity", async () => {
  await using api = await testApi();
  const [alpha] = await twoGroups(api.database.ownerUrl);
  await addPerson(api, "a@alpha.example", [[alpha.group, "admin"]]);
  const token = await api.login("a@alpha.example");
  const text = "From: x@alpha.example\r\nX-Campaign: spring\r\nContent-Type: application/pdf\r\n\r\nAAAA";
  await sql(api, "update messages set body = $1 where id = $2", [
    new TextEncoder().encode(text),
    alpha.message,
  ]);
  const explain = async (conditions: Record<string, unknown>) => {
    await sql(api, "update routing_rules set conditions = $1", [JSON.stringify(conditions)]);
    const body = { "message_id": alpha.message };
    const answer = await api.ask("POST", `${rules}/test`, { token, body });
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body.recipients[0].rules[0];
  };
  const reads = async () => {
    const { body } = await api.ask(
      "GET",
      `/api/v1/groups/${alpha.group}/activity?action=messages.read_body`,
      {
        token,
      },
    );
    return body.length;
  };
  assert.equal((await explain({ subject: "*" })).result, "matched");
  assert.equal(await reads(), 0, "the subject is in the row");
  const header = await explain({ header: { name: "X-Campaign", matches: "summer" } });
  assert.deepEqual(header.conditions, [
    { condition: "header", met: false, actual: { name: "X-Campaign", values: ["spring"] } },
  ]);
  assert.equal((await explain({ attachment: true })).result, "matched");
  assert.equal(await reads(), 2);
  await sql(api, "update messages set body = null, body_removed_at = now() where id = $1", [alpha.message]);
  assert.equal((await explain({ attachment: true })).result, "unknown");
  assert.equal(await reads(), 2);
  assert.deepEqual(api.faults, []);
});
