import assert from "node:assert/strict";
import { fetchDirect } from "../../lib/aws/fetch_direct.ts";
import { KeyMint, openContainer, openMetadata } from "../support/fake_aws_identity.ts";
import { FaultyHttp } from "../support/faulty_http.ts";
import { basicVariables } from "../support/run_program.ts";

const program = new URL("../support/print_credentials.ts", import.meta.url).pathname;

async function printedBy(kind: string, env: Readonly<Record<string, string>>) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-env", "--allow-net=127.0.0.1", "--allow-read", program, kind],
    env: { ...basicVariables(), ...env },
    clearEnv: true,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  assert.equal(code, 0, decoder.decode(stderr));
  return decoder.decode(stdout);
}

Deno.test("credentials of the machine and the container are never asked for through a proxy", async () => {
  const keys = new Map<string, { secret: string }>();
  const mint = new KeyMint(keys, () => new Date());
  await using metadata = await openMetadata(mint);
  await using container = await openContainer(mint, () => "container-auth");
  await using proxy = await FaultyHttp.open(() => ({ status: 502 }));
  const env = {
    HTTP_PROXY: proxy.origin,
    "http_proxy": proxy.origin,
    HTTPS_PROXY: proxy.origin,
    ALL_PROXY: proxy.origin,
    NO_PROXY: "",
    "no_proxy": "",
    NODE_USE_ENV_PROXY: "1",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.origin,
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": `${container.origin}/v1/credentials`,
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container-auth",
  };
  for (const kind of ["instance", "container"]) {
    const id = await printedBy(kind, env);
    assert.ok(keys.has(id), `${kind}: ${id}`);
  }
  assert.equal(proxy.requests.length, 0);
});

Deno.test("fetchDirect() gives status, fields and body, follows nothing, and ends when it is aborted", async () => {
  const { signal } = new AbortController();
  await using service = await FaultyHttp.open(({ method, headers }) => ({
    status: 302,
    headers: { location: "/other", "x-seen": `${method} ${headers.get("x-token")}` },
    body: "moved",
  }));
  const url = new URL("/path", service.origin);
  const answer = await fetchDirect(url, { method: "PUT", headers: { "x-token": "a" }, signal });
  assert.deepEqual([answer.status, answer.headers.get("x-seen")], [302, "PUT a"]);
  assert.equal(await answer.text(), "moved");
  assert.equal(service.requests.length, 1);
  const why = new Error("it took too long");
  await assert.rejects(fetchDirect(url, { signal: AbortSignal.abort(why) }), why);
  await using silent = await FaultyHttp.open(() => ({ status: 200 }));
  silent.fail({ read: "hang" });
  const late = new AbortController();
  const asked = fetchDirect(new URL(silent.origin), { signal: late.signal });
  await silent.read(1);
  late.abort(why);
  await assert.rejects(asked, why);
});
