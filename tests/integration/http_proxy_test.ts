import assert from "node:assert/strict";
import { FakeSendgrid } from "../support/fake_sendgrid.ts";
import { runProgram } from "../support/run_program.ts";
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
