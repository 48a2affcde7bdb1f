import assert from "node:assert/strict";
import { FakeSendgrid } from "../support/fake_sendgrid.ts";
import { runProgram } from "../support/run_program.ts";
import { startTcpRelay } from "../support/tcp_relay.ts";
import { openTunnelProxy } from "../support/tunnel_proxy.ts";

const host = "api.sendgrid.com";

Deno.test("services are called through HTTPS_PROXY, by certificates that a person trusts, and by no others", async () => {
  await using fake = await FakeSendgrid.open();
  await using proxy = await openTunnelProxy(host, Number(new URL(fake.http.origin).port));
  const file = await Deno.makeTempFile({ prefix: "smtp_proxy_ca_", suffix: ".pem" });
  try {
    await Deno.writeTextFile(file, proxy.ca);
    const json = JSON.stringify({ name: "main", "provider_type": "sendgrid", "api_key": fake.key });
    const check = (env: Record<string, string>) =>
      runProgram("seed", ["--check", json], {
        HTTPS_PROXY: `http://user:secret@127.0.0.1:${proxy.port}`,
        NO_PROXY: "",
        ...env,
      });
    for (const name of ["DENO_CERT", "NODE_EXTRA_CA_CERTS"]) {
      const { code, stdout, stderr } = await check({ [name]: file });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^main: the credentials work$/m);
    }
    assert.equal(proxy.asked[0], `CONNECT ${host}:443 ${btoa("user:secret")}`);
    assert.equal(fake.http.requests[0]?.headers.get("host"), host);
    const taken = fake.http.requests.length;
    const { code, stderr } = await check({});
    assert.equal(code, 1);
    assert.match(stderr, /^main: tls_failed: .*certificate/m);
    assert.doesNotMatch(stderr, /secret/);
    assert.equal(fake.http.requests.length, taken);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("a host that NO_PROXY names is called past the proxy, by its name, its address and over IPv6", async () => {
  await using fake = await FakeSendgrid.open();
  const { port } = new URL(fake.http.origin);
  await using proxy = await openTunnelProxy(host, Number(port));
  await using over6 = startTcpRelay(Number(port), "::1");
  const check = (endpoint: string, except: string) => {
    const json = JSON.stringify({
      name: "main",
      "provider_type": "sendgrid",
      "api_key": fake.key,
      "smtp_config": { endpoint },
    });
    return runProgram("seed", ["--check", json], {
      HTTP_PROXY: `http://127.0.0.1:${proxy.port}`,
      NO_PROXY: except,
      SMTP_PROXY_ENVIRONMENT: "development",
    });
  };
  const v6 = `http://${over6.address}`;
  const passing = [
    [fake.http.origin, "example.org,127.0.0.1"],
    [fake.http.origin, "127.0.0.0/8"],
    [`http://localhost:${port}`, "localhost"],
    [v6, "::1"],
  ] as const;
  for (const [index, [endpoint, except]] of passing.entries()) {
    const { code, stderr } = await check(endpoint, except);
    assert.equal(code, 0, `${endpoint} ${except}: ${stderr}`);
    assert.ok(fake.http.requests.length > index);
  }
  assert.deepEqual(proxy.asked, []);
  const taken = fake.http.requests.length;
  for (const endpoint of [fake.http.origin, v6]) {
    assert.equal((await check(endpoint, "example.org")).code, 1, endpoint);
    assert.match(proxy.asked.at(-1) ?? "", new RegExp(`^GET ${RegExp.escape(endpoint)}/v3/scopes`));
  }
  assert.equal(fake.http.requests.length, taken);
});
