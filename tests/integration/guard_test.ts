import assert from "node:assert/strict";
import { AddressNotAllowed, createGuard } from "../../lib/network/guard.ts";

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
