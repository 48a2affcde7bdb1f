import assert from "node:assert/strict";
import { msgraph } from "../../lib/esp/msgraph.ts";
import { FakeGraph } from "../support/fake_graph.ts";
import type { HttpFault } from "../support/faulty_http.ts";
import { app, graphSettingsOf, makeCertificate } from "../support/graph_app.ts";
import { HeldTime } from "../support/held_time.ts";
import { deliverInWords, inWords, openEsp, parcelOf } from "../support/parcels.ts";

const { signal } = new AbortController();
const start = Date.parse("2026-11-23T00:00:00Z");

Deno.test("msgraph: one token serves many messages, also those that ask for it at the same time", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  const reports = await Promise.all(
    Array.from({ length: 20 }, (_, index) => deliverInWords(esp, parcelOf([`r${index}@example.org`]))),
  );
  assert.ok(reports.flat().every((words) => words === "accepted"));
  assert.equal(fake.sent.length, 20);
  assert.equal(fake.login.given, 1);
});

Deno.test("msgraph: a token is renewed before it ends, and not asked for anew before that", async () => {
  let nowMs = start;
  const now = () => new Date(nowMs);
  await using fake = await FakeGraph.open(app, now);
  await using esp = openEsp(msgraph, graphSettingsOf(fake), { now });
  const send = async () =>
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
  await send();
  nowMs = start + 3_290_000;
  await send();
  assert.equal(fake.login.given, 1);
  nowMs = start + 3_300_000;
  const before = fake.http.requests.length;
  await send();
  await fake.http.read(before + 2);
  assert.equal(fake.login.given, 2);
  nowMs = start + 3_700_000;
  await send();
  assert.equal(fake.login.given, 2);
});

Deno.test("msgraph: while a token cannot be renewed the old one serves to its end", async () => {
  let nowMs = start;
  const now = () => new Date(nowMs);
  await using fake = await FakeGraph.open(app, now);
  await using esp = openEsp(msgraph, graphSettingsOf(fake), { now });
  await deliverInWords(esp, parcelOf(["b@example.org"]));
  nowMs = start + 3_400_000;
  const login = ({ target }: { readonly target: string }) => target.includes("/oauth2/");
  const asked = () => fake.http.requests.filter(login).length;
  fake.login.refusal = { status: 503, body: "Busy" };
  for (let count = 0; count < 5; count++) {
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
  }
  assert.ok(asked() <= 2);
  nowMs = start + 3_600_000;
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["retry provider http_503"]);
  fake.login.refusal = undefined;
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
});

Deno.test("msgraph: a token that Graph refuses is replaced once, and the mail goes out once", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  await esp.check(signal);
  fake.login.revokeAll();
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
  assert.equal(fake.login.given, 2);
  assert.equal(fake.sent.length, 1);
  const refused = {
    reply: { status: 401, body: { error: { code: "InvalidAuthenticationToken", message: "" } } },
  };
  fake.http.fail(refused);
  fake.login.revokeOnUse = true;
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), [
    "wait credentials provider http_401",
  ]);
  assert.equal(fake.login.given, 3);
});

Deno.test("msgraph: a certificate stands in for a secret, its assertion is good and used once", async () => {
  const { certificate, key } = await makeCertificate();
  await using fake = await FakeGraph.open({ ...app, certificate });
  const { client_secret: _, ...settings } = graphSettingsOf(fake);
  const open = (changes: Record<string, unknown>) => openEsp(msgraph, { ...settings, ...changes });
  await using esp = open({ certificate, "private_key": key });
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
  fake.login.revokeAll();
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
  assert.equal(fake.login.given, 2);
  const other = await makeCertificate();
  await using stranger = open({ certificate: other.certificate, "private_key": other.key });
  assert.deepEqual(await deliverInWords(stranger, parcelOf(["b@example.org"])), [
    "wait credentials provider http_401",
  ]);
  await using mixed = open({ certificate, "private_key": other.key });
  assert.deepEqual(await deliverInWords(mixed, parcelOf(["b@example.org"])), [
    "wait credentials provider certificate_invalid",
  ]);
});

Deno.test("msgraph: a wrong directory, application or secret waits for somebody to repair it", async () => {
  await using fake = await FakeGraph.open(app);
  const cases = [
    [{ "tenant_id": "nowhere.example.com" }, "wait configuration provider http_400"],
    [{ "client_id": "00000000-0000" }, "wait configuration provider http_400"],
    [{ "client_secret": "wrong" }, "wait credentials provider http_401"],
  ] as const;
  for (const [changes, words] of cases) {
    await using esp = openEsp(msgraph, graphSettingsOf(fake, changes));
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), [words]);
  }
  assert.equal(fake.sent.length, 0);
});

const denial = (status: number, error: string, headers = {}) => ({
  reply: { status, headers, body: { error, "error_description": "AADSTS90033: Words" } },
});

/** What goes wrong with the request for a token: nothing was sent, so nothing is ever unknown. */
const faults: readonly (readonly [HttpFault, string, number?])[] = [
  [denial(401, "invalid_client"), "wait credentials provider http_401"],
  [denial(400, "invalid_client"), "wait credentials provider http_400"],
  [denial(400, "unauthorized_client"), "wait configuration provider http_400"],
  [denial(400, "invalid_scope"), "wait configuration provider http_400"],
  [denial(400, "temporarily_unavailable"), "retry provider http_400"],
  [denial(503, "temporarily_unavailable"), "retry provider http_503"],
  [denial(429, "temporarily_unavailable", { "Retry-After": "5" }), "wait throttled provider http_429", 5],
  [{ reply: { status: 400, body: "<html>" } }, "wait configuration provider http_400"],
  [{ reply: { status: 500, body: "" } }, "retry provider http_500"],
  [
    { reply: { status: 302, headers: { Location: "https://example.org/" } } },
    "wait configuration provider http_302",
  ],
  [{ reply: { status: 200, body: "Hello" } }, "retry provider http_200"],
  [{ reply: { status: 200, body: { "access_token": "t" } } }, "retry provider http_200"],
  [
    { reply: { status: 200, body: { "access_token": "t", "token_type": "mac", "expires_in": 1 } } },
    "retry provider http_200",
  ],
  [{ read: "reset" }, "retry provider connection_lost"],
  [{ answered: "close", bytes: 30, served: true }, "retry provider connection_lost"],
  [{ read: "hang" }, "retry provider timeout"],
  [{ raw: "x" }, "retry provider protocol_error"],
];

Deno.test("msgraph: whatever fails before there is a token has sent nothing", async (test) => {
  for (const [fault, expected, seconds] of faults) {
    await test.step(`${JSON.stringify(fault).slice(0, 100)}: ${expected}`, async () => {
      await using fake = await FakeGraph.open(app);
      const isHang = JSON.stringify(fault).includes("hang");
      const time = new HeldTime();
      await using esp = openEsp(msgraph, graphSettingsOf(fake), isHang ? { after: time.after } : {});
      fake.http.fail(fault);
      const delivering = esp.deliver(parcelOf(["b@example.org"]), signal);
      if (isHang) {
        await fake.http.hung;
        time.end();
      }
      const report = await delivering;
      const [outcome] = report.recipients.values();
      assert.equal(inWords(outcome), expected);
      const wait = outcome !== undefined && "afterMs" in outcome ? outcome.afterMs : undefined;
      assert.equal(wait, seconds === undefined ? undefined : seconds * 1000);
      assert.equal(fake.sent.length, 0);
    });
  }
});

Deno.test("msgraph: a call that is ended while a token is awaited sends nothing and does not end the others", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  fake.http.fail({ pieces: 4, everyMs: 20 });
  const ended = new AbortController();
  const one = deliverInWords(esp, parcelOf(["b@example.org"]), ended.signal);
  const other = deliverInWords(esp, parcelOf(["c@example.org"]));
  await fake.http.read(1);
  ended.abort();
  assert.deepEqual([await one, await other], [["wait unavailable message aborted"], ["accepted"]]);
  assert.deepEqual(fake.sent.map(({ recipients }) => recipients), [["c@example.org"]]);
});
