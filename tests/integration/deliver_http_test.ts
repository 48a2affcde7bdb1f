import assert from "node:assert/strict";
import { newKeyText, parseKeys } from "../../lib/secrets/seal.ts";
import { DeliveryRoom, type RecipientState } from "../support/delivery_room.ts";
import type { HttpFault } from "../support/faulty_http.ts";
import { type HttpService, httpServices } from "../support/http_services.ts";

const mail = "From: me@example.com\r\nTo: one@example.net\r\nSubject: a\r\n\r\nThe text\r\n";
const keys = newKeyText("test");

interface Ending {
  /** Of the one recipient. */
  readonly state: RecipientState | undefined;
  /** The calls' statuses in order, as the log has them. */
  readonly calls: readonly string[];
  readonly log: Record<string, unknown> | undefined;
}

/** Delivers a message by the service, which suffers a fault, with a simulator behind it in the rule. */
async function deliverOnce(
  kind: string,
  service: HttpService,
  fault: HttpFault,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Ending> {
  await using room = await DeliveryRoom.open();
  const secret = { secrets: service.secrets, keys };
  const first = await room.provider(kind, { ...service.settings, ...settings }, secret);
  await room.rule([first, await room.provider("simulator", {})]);
  await using crew = room.crew({
    keys: await parseKeys(keys) ?? [],
    terms: { answerTimeoutMs: 0 },
  });
  // The token of Graph is fetched before, so that the fault meets the message.
  await room.deliver(await room.submit(["one@example.net"], mail), crew);
  service.http.fail(fault);
  const id = await room.submit(["one@example.net"], mail);
  await room.deliver(id, crew);
  const [state] = await room.recipientsOf(id);
  const logs = await room.logsOf(id);
  return { state, calls: logs.map(({ provider, status }) => `${provider} ${status}`), log: logs[0] };
}

for (const [kind, open] of Object.entries(httpServices)) {
  Deno.test(`${kind}: a request that left without an answer goes to no other provider, and again or never`, async () => {
    await using service = await open();
    const again = await deliverOnce(kind, service, { read: "reset", served: true });
    assert.deepEqual(again.calls, [`${kind} unknown`]);
    assert.deepEqual([again.state?.status, again.state?.attempts], ["pending", 1]);
    const held = await deliverOnce(kind, service, { read: "reset", served: true }, { unknown: "hold" });
    assert.deepEqual(held.calls, [`${kind} unknown`]);
    assert.deepEqual([held.state?.status, held.state?.attempts], ["unknown", 1]);
  });

  Deno.test(`${kind}: trouble of the service goes to the rule's next provider, and is written down`, async () => {
    await using service = await open();
    const headers = { "x-request-id": "req-1", "content-type": "text/html" };
    const fault = { reply: { status: 503, headers, body: "<h1>Busy</h1>" } };
    const { state, calls, log } = await deliverOnce(kind, service, fault);
    assert.deepEqual(calls, [`${kind} failed`, "simulator delivered"]);
    assert.equal(state?.status, "accepted");
    assert.deepEqual([log?.["response_code"], log?.["request_id"]], [503, "req-1"]);
    assert.match(String(log?.["response_body"]), /Busy/);
  });

  Deno.test(`${kind}: throttling waits as long as the service names and spends no attempt`, async () => {
    await using service = await open();
    await using room = await DeliveryRoom.open();
    await room.provider(kind, { ...service.settings }, { secrets: service.secrets, keys });
    await using crew = room.crew({ keys: await parseKeys(keys) ?? [] });
    await room.deliver(await room.submit(["one@example.net"], mail), crew);
    service.http.fail({ reply: { status: 429, headers: { "retry-after": "600" }, body: "{}" } });
    const id = await room.submit(["one@example.net"], mail);
    await room.deliver(id, crew);
    const [state] = await room.recipientsOf(id);
    assert.deepEqual([state?.status, state?.attempts, state?.code], ["pending", 0, "http_429"]);
    assert.ok(Number(state?.wait) > 590 && Number(state?.wait) <= 730, `waits ${state?.wait} s`);
    await room.makeDue(id);
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), "delivered");
    assert.equal(service.taken().length, 2);
  });
}
