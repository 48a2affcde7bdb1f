import assert from "node:assert/strict";
import { smtpRelay } from "../../lib/esp/smtp_relay.ts";
import { AddressNotAllowed, createGuard } from "../../lib/network/guard.ts";
import { deliverInWords, openEsp, parcelOf } from "../support/parcels.ts";
import { SmtpSink } from "../support/smtp_sink.ts";

const strict = { allowedNetworks: [], allowedPorts: [], development: false } as const;

Deno.test("createGuard() resolves names by the system: localhost is loopback under any spelling", async () => {
  for (const host of ["localhost", "LOCALHOST", "127.1", "0x7f000001", "2130706433"]) {
    await assert.rejects(createGuard(strict)(host, 25), AddressNotAllowed, host);
  }
  const found = await createGuard({ ...strict, development: true })("localhost", 4025);
  assert.deepEqual(found, { address: "127.0.0.1", servername: "localhost" });
});

Deno.test("createGuard() passes on that a name does not exist", async () => {
  await assert.rejects(
    createGuard(strict)("no-such-host.invalid", 25),
    (error) => !(error instanceof AddressNotAllowed),
  );
});

Deno.test("a relay is called at the address that was checked, whatever its name leads to a moment later", async () => {
  await using sink = await SmtpSink.open();
  const answers = [["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"]];
  const asked: string[] = [];
  const guard = createGuard({
    ...strict,
    development: true,
    resolve: (host) => {
      asked.push(host);
      return Promise.resolve(answers.shift() ?? []);
    },
  });
  // The system's resolver knows no such name, so whoever asked it again would get nowhere.
  const settings = { host: "relay.invalid", port: sink.port, tls: "none" };
  await using first = openEsp(smtpRelay, settings, { guard });
  assert.deepEqual(await deliverInWords(first, parcelOf(["b@example.org"])), ["accepted"]);
  assert.deepEqual(asked, ["relay.invalid"]);
  for (let time = 0; time < 2; time++) {
    await using again = openEsp(smtpRelay, settings, { guard });
    assert.deepEqual(await deliverInWords(again, parcelOf(["b@example.org"])), [
      "wait configuration provider address_not_allowed",
    ]);
  }
  assert.equal(sink.mails.length, 1);
});
