import assert from "node:assert/strict";
import { AddressNotAllowed, createEndpointGuard, createGuard } from "./guard.ts";

const strict = { allowedNetworks: [], allowedPorts: [], development: false } as const;

Deno.test("createGuard() answers a public address with the name that was asked for", async () => {
  const guard = createGuard({ ...strict, resolve: () => Promise.resolve(["2606:4700::1", "1.1.1.1"]) });
  assert.deepEqual(await guard("relay.example", 587), { address: "1.1.1.1", servername: "relay.example" });
  assert.deepEqual(await createGuard(strict)("8.8.8.8", 25), { address: "8.8.8.8" });
  assert.deepEqual(await createGuard(strict)("[2606:4700::1]", 465), { address: "2606:4700::1" });
});

Deno.test("createGuard() refuses every address that is not public", async () => {
  const inside = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.8",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::7f00:1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "2001::1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "fec0::1",
    "100::1",
    "not an address",
  ];
  for (const address of inside) {
    const guard = createGuard({ ...strict, resolve: () => Promise.resolve([address]) });
    await assert.rejects(guard("relay.example", 587), AddressNotAllowed, address);
  }
});

Deno.test("createGuard() allows NAT64 of a public address", async () => {
  const guard = createGuard({ ...strict, resolve: () => Promise.resolve(["64:ff9b::808:808"]) });
  assert.equal((await guard("relay.example", 25)).address, "64:ff9b::808:808");
});

Deno.test("createGuard() refuses a name when one of its addresses is inside", async () => {
  const guard = createGuard({ ...strict, resolve: () => Promise.resolve(["8.8.8.8", "10.0.0.1"]) });
  await assert.rejects(guard("relay.example", 25), /10\.0\.0\.1 is not public/);
});

Deno.test("createGuard() allows mail's ports and those that are named", async () => {
  const guard = createGuard({ ...strict, allowedPorts: [1025] });
  for (const port of [25, 465, 587, 2525, 1025]) {
    assert.equal((await guard("8.8.8.8", port)).address, "8.8.8.8");
  }
  for (const port of [22, 80, 5432]) await assert.rejects(guard("8.8.8.8", port), /port \d+ is not in/);
});

Deno.test("createGuard() allows networks that are named, on allowed ports", async () => {
  const guard = createGuard({ ...strict, allowedNetworks: ["10.0.0.0/8", "fd12::/16"] });
  assert.equal((await guard("10.9.9.9", 25)).address, "10.9.9.9");
  assert.equal((await guard("fd12::1", 25)).address, "fd12::1");
  await assert.rejects(guard("10.9.9.9", 80), AddressNotAllowed);
  await assert.rejects(guard("192.168.0.1", 25), AddressNotAllowed);
});

Deno.test("createGuard() allows loopback alone, on any port, in development", async () => {
  const guard = createGuard({ ...strict, development: true });
  assert.equal((await guard("127.0.0.1", 40_000)).address, "127.0.0.1");
  assert.equal((await guard("::1", 40_000)).address, "::1");
  await assert.rejects(guard("10.0.0.1", 25), AddressNotAllowed);
  await assert.rejects(guard("8.8.8.8", 40_000), AddressNotAllowed);
});

Deno.test("createGuard() says when a name has no address, and passes on what the resolver says", async () => {
  const none = createGuard({ ...strict, resolve: () => Promise.resolve([]) });
  await assert.rejects(none("relay.example", 25), /has no address/);
  const down = createGuard({ ...strict, resolve: () => Promise.reject(new Error("ENOTFOUND")) });
  await assert.rejects(down("relay.example", 25), /ENOTFOUND/);
});

Deno.test("createEndpointGuard() allows HTTPS to public addresses, other ports and networks where they are named", async () => {
  const at = (address: string, changes = {}) =>
    createEndpointGuard({ ...strict, resolve: () => Promise.resolve([address]), ...changes });
  await at("8.8.8.8")(new URL("https://api.example/v3"));
  await assert.rejects(at("8.8.8.8")(new URL("http://api.example/")), /port 80 is not in/);
  await assert.rejects(at("8.8.8.8")(new URL("https://api.example:8443/")), /port 8443 is not in/);
  await at("8.8.8.8", { allowedPorts: [8443] })(new URL("https://api.example:8443/"));
  for (const inside of ["10.0.0.1", "127.0.0.1", "169.254.169.254", "fd00::1"]) {
    await assert.rejects(at(inside)(new URL("https://api.example/")), AddressNotAllowed);
  }
  await assert.rejects(at("8.8.8.8")(new URL("https://[::1]/")), AddressNotAllowed);
  await at("10.0.0.1", { allowedNetworks: ["10.0.0.0/8"] })(new URL("https://api.example/"));
  await at("8.8.8.8", { development: true })(new URL("http://127.0.0.1:4010/"));
  const named = { allowedOrigins: ["http://mail.internal:8080"] };
  await at("10.0.0.1", named)(new URL("http://mail.internal:8080/v3"));
  await assert.rejects(at("10.0.0.1", named)(new URL("http://mail.internal:8081/v3")), AddressNotAllowed);
});
