import assert from "node:assert/strict";
import { findKind } from "../../lib/esp/catalog.ts";
import type { Esp } from "../../lib/esp/esp.ts";
import { createEndpointGuard, createGuard } from "../../lib/network/guard.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { newId } from "../../lib/ids.ts";
import type { GroupId, MessageId, UserId } from "../../lib/ids.ts";
import { httpServices } from "../support/http_services.ts";
import { deliverInWords, openEsp, parcelOf } from "../support/parcels.ts";
import { openTestS3Store } from "../support/s3_stores.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import { startTcpRelay } from "../support/tcp_relay.ts";

const over6 = { allowedNetworks: ["::1"], allowedPorts: [], development: false };

for (const [kind, open] of Object.entries(httpServices)) {
  Deno.test(`${kind}: is called over IPv6 where an endpoint is such an address and allowed, and not otherwise`, async () => {
    await using service = await open();
    await using relay = startTcpRelay(Number(new URL(service.http.origin).port), "::1");
    const endpoint = `http://${relay.address}`;
    const settings = { ...service.settings, ...service.secrets, endpoint };
    const found = findKind(kind);
    assert.ok(found);
    const guardEndpoint = createEndpointGuard({ ...over6, allowedPorts: [relay.port] });
    await using esp = openEsp(found, settings, { guardEndpoint });
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
    assert.deepEqual(service.taken().map(({ to }) => to), [["b@example.org"]]);
    assert.deepEqual((await esp.check(new AbortController().signal)).faults, []);
    for (const guarded of [{ ...over6, allowedNetworks: [] }, over6]) {
      await using kept = openEsp(found, settings, { guardEndpoint: createEndpointGuard(guarded) });
      const words = await deliverInWords(kept, parcelOf(["b@example.org"]));
      assert.deepEqual(words, ["wait configuration provider request_invalid"]);
    }
    assert.equal(service.taken().length, 1);
  });
}

Deno.test("smtp relay: is called over IPv6, written with and without brackets, where that is allowed", async () => {
  await using sink = await SmtpSink.open();
  await using relay = startTcpRelay(sink.port, "::1");
  const found = findKind("smtp");
  assert.ok(found);
  const allowed = createGuard({ ...over6, allowedPorts: [relay.port] });
  for (const host of ["::1", "[::1]"]) {
    const settings = { host, port: relay.port, tls: "none" };
    await using esp: Esp = openEsp(found, settings, { guard: allowed });
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"], host);
    await using kept: Esp = openEsp(found, settings, {
      guard: createGuard({ ...over6, allowedNetworks: [] }),
    });
    assert.deepEqual(await deliverInWords(kept, parcelOf(["b@example.org"])), [
      "wait configuration provider address_not_allowed",
    ]);
  }
  assert.equal(sink.mails.length, 2);
});

Deno.test("S3 is called over IPv6, and the host that is signed has its brackets and its port", async () => {
  await using test = openTestS3Store();
  await using relay = startTcpRelay(Number(new URL(test.fake.origin).port), "::1");
  await using store = test.reopen({ place: { ...test.options.place, endpoint: `http://${relay.address}` } });
  const label = {
    id: newId<MessageId>(),
    group: newId<GroupId>(),
    user: newId<UserId>(),
    mailFrom: "a@example.com",
    recipients: ["b@example.org"],
  };
  const bytes = new TextEncoder().encode("Subject: over IPv6\r\n\r\nHello\r\n");
  const ref = await store.put(label, memoryBody(bytes));
  const body = await store.get(ref);
  assert.ok(body);
  assert.deepEqual(await body.bytes(), bytes);
  await store.remove(ref);
  assert.equal(await store.get(ref), undefined);
});
