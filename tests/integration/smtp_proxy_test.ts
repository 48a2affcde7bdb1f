import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect, createServer, type Socket } from "node:net";
import { parseCidr } from "../../lib/network/cidr.ts";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import { deliver, greeted, openStage, plainToken, turn, Wire } from "../support/smtp_wire.ts";

const certificate = await selfSignedCertificate(new Date(), "host.test");
const login = `AUTH PLAIN ${plainToken("user", "secret")}`;

const proxies = ["127.0.0.0/8", "::1"].map((text) => parseCidr(text) ?? assert.fail());
const v1 = "PROXY TCP4 203.0.113.9 192.0.2.1 4711 587\r\n";
const v2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x01\x12\x67\x02\x4b";

/** A load balancer that sends the header and the first bytes of its client in one packet. */
async function openBalancer(
  port: number,
  header: string,
): Promise<{ readonly port: number } & AsyncDisposable> {
  const sockets: Socket[] = [];
  const server = createServer((client) => {
    client.once("data", (first: Uint8Array) => {
      const upstream = connect({ port, host: "127.0.0.1" });
      sockets.push(client, upstream);
      for (const socket of [client, upstream]) socket.on("error", () => socket.destroy());
      upstream.write(Buffer.concat([Buffer.from(header, "latin1"), first]));
      client.pipe(upstream).pipe(client);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

for (const [version, header] of [["1", v1], ["2", v2]] as const) {
  Deno.test(`PROXY version ${version} from a trusted network names the client, in one packet with EHLO or byte by byte`, async () => {
    await using stage = await openStage({ trustedProxies: proxies });
    for (const isSlow of [false, true]) {
      await using wire = await Wire.open(stage.port);
      if (isSlow) { for (const byte of header) await wire.send(byte); }
      await wire.send(`${isSlow ? "" : header}EHLO x\r\n${login}\r\n`);
      await wire.reply();
      await wire.reply();
      assert.match(await wire.reply(), /^235/);
      assert.equal(stage.gate.tried.at(-1)?.address, "203.0.113.9");
      assert.match(await deliver(wire), /^250/);
      assert.equal(stage.intake.taken.at(-1)?.submission.client.address, "203.0.113.9");
    }
  });

  Deno.test(`PROXY version ${version} comes before implicit TLS, also in one packet with the handshake`, async () => {
    await using stage = await openStage({ tls: "implicit", certificate, trustedProxies: proxies });
    await using balancer = await openBalancer(stage.port, header);
    await using wire = await Wire.openTls(balancer.port);
    assert.match(await wire.reply(), /^220/);
    await wire.ask("EHLO x");
    assert.match(await wire.ask(login), /^235/);
    assert.equal(stage.gate.tried.at(-1)?.address, "203.0.113.9");
  });

  Deno.test(`PROXY version ${version} from anybody else is no header`, async () => {
    await using stage = await openStage({ trustedProxies: [parseCidr("10.0.0.0/8") ?? assert.fail()] });
    await using wire = await greeted(stage);
    await wire.send(header);
    assert.match(await wire.reply(), /^500 5\.5\./);
    assert.equal(stage.gate.tried.length, 0);
  });
}

Deno.test("a trusted proxy must send a header: anything else, and silence, is closed without a word", async () => {
  await using stage = await openStage({ trustedProxies: proxies, limits: { handshakeMs: 60 } });
  for (const text of ["EHLO x\r\n", "PROXY nonsense\r\n", ""]) {
    await using wire = await Wire.open(stage.port);
    await wire.send(text);
    assert.equal(await wire.reply(), "closed");
  }
  assert.equal(stage.watcher.events.filter((event) => event === "rejected proxy_header").length, 3);
  while (stage.listener.connections > 0) await turn();
});

Deno.test("limits of addresses count the client behind a proxy, and sockets before EHLO", async () => {
  await using stage = await openStage({ trustedProxies: proxies, limits: { maxConnectionsPerAddress: 1 } });
  await using first = await Wire.open(stage.port);
  await first.send(v1);
  assert.match(await first.reply(), /^220/);
  await using second = await Wire.open(stage.port);
  await second.send(v1);
  assert.match(await second.reply(), /^421 4\.7\.0/);
  await using third = await Wire.open(stage.port);
  await third.send(v1.replace("203.0.113.9", "203.0.113.10"));
  assert.match(await third.reply(), /^220/);
  await first[Symbol.asyncDispose]();
  while (stage.listener.connections > 1) await turn();
  await using fourth = await Wire.open(stage.port);
  await fourth.send(v1);
  assert.match(await fourth.reply(), /^220/);
});
