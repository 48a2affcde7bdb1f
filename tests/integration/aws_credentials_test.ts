import assert from "node:assert/strict";
import { CredentialsFailure, type CredentialWish } from "../../lib/aws/credentials.ts";
import { fetchDirect } from "../../lib/aws/fetch_direct.ts";
import { createCredentials } from "../../lib/aws/open_credentials.ts";
import { ses } from "../../lib/esp/ses.ts";
import { KeyMint, openContainer, openMetadata, openSts } from "../support/fake_aws_identity.ts";
import { FakeSes } from "../support/fake_ses.ts";
import type { FaultyHttp, HttpFault } from "../support/faulty_http.ts";
import { deliverInWords, inWords, openEsp, parcelOf } from "../support/parcels.ts";

const { signal } = new AbortController();
const minute = 60_000;
const webRole = "arn:aws:iam::123456789012:role/web";
const mailRole = "arn:aws:iam::123456789012:role/mail";

/** All who hand out credentials, and SES, which learns of every key they make. */
class Cloud implements AsyncDisposable {
  readonly variables: Record<string, string> = { "AWS_REGION": "eu-west-1" };
  readonly files: Record<string, string> = {};
  /** How far everybody's clock is ahead. */
  aheadMs = 0;
  /** Whether answers may take longer than the seconds that they are given, as where this machine is held up. */
  isPatient = true;
  authorization = "container-auth";

  private constructor(
    readonly ses: FakeSes,
    readonly mint: KeyMint,
    readonly sts: FaultyHttp,
    readonly metadata: FaultyHttp,
    readonly container: FaultyHttp,
  ) {
    this.variables["AWS_ENDPOINT_URL_STS"] = sts.origin;
    this.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = metadata.origin;
  }

  /** One whose role `mailRole` may be taken on by the key of this id. */
  static async open(caller = "nobody"): Promise<Cloud> {
    const fake = await FakeSes.open();
    fake.keys.clear();
    const now = (): Date => cloud.now();
    const mint = new KeyMint(fake.keys, now);
    const sts = await openSts(mint, {
      region: "eu-west-1",
      roles: new Map([[webRole, "web-token"], [mailRole, caller]]),
      callers: fake.keys,
      now,
    });
    const container = await openContainer(mint, () => cloud.authorization);
    const cloud: Cloud = new Cloud(fake, mint, sts, await openMetadata(mint), container);
    return cloud;
  }

  now(): Date {
    return new Date(Date.now() + this.aheadMs);
  }

  get world() {
    const inTime = <Init extends { readonly signal?: AbortSignal | null }>(init: Init): Init =>
      this.isPatient ? { ...init, signal } : init;
    return {
      fetch: ((input, init = {}) => fetch(input, inTime(init))) as typeof fetch,
      fetchDirect: ((url, init) => fetchDirect(url, inTime(init))) as typeof fetchDirect,
      now: () => this.now(),
      env: (name: string) => this.variables[name],
      readTextFile: (path: string) =>
        path in this.files
          ? Promise.resolve(this.files[path] ?? "")
          : Promise.reject(new Error("There is no such file")),
    };
  }

  /** SES as a provider with these credentials. */
  esp(changes: Record<string, unknown>) {
    const settings = { region: "eu-west-1", endpoint: this.ses.http.origin, ...changes };
    const { world } = this;
    return openEsp(ses, settings, { now: world.now, credentials: createCredentials(world) });
  }

  source(wish: CredentialWish) {
    return createCredentials(this.world)(wish);
  }

  setWebIdentity(token = "web-token"): void {
    Object.assign(this.variables, { "AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ROLE_ARN": webRole });
    this.files["/token"] = `${token}\n`;
  }

  setContainer(authorization = this.authorization): void {
    Object.assign(this.variables, {
      "AWS_CONTAINER_CREDENTIALS_FULL_URI": `${this.container.origin}/v1/credentials`,
      "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/auth",
    });
    this.files["/auth"] = authorization;
  }

  pass(ms: number): void {
    this.aheadMs += ms;
    this.ses.aheadMs += ms;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of [this.ses, this.sts, this.metadata, this.container]) await part[Symbol.asyncDispose]();
  }
}

const one = () => parcelOf(["b@example.org"]);

Deno.test("SES takes mail that is signed with the credentials of the environment, and no longer when they are revoked", async () => {
  await using cloud = await Cloud.open();
  const { id, secret, token } = cloud.mint.make();
  Object.assign(cloud.variables, {
    "AWS_ACCESS_KEY_ID": id,
    "AWS_SECRET_ACCESS_KEY": secret,
    "AWS_SESSION_TOKEN": token,
  });
  await using esp = cloud.esp({ credentials: "environment" });
  assert.deepEqual(await deliverInWords(esp, one()), ["accepted"]);
  cloud.ses.keys.delete(id);
  assert.deepEqual(await deliverInWords(esp, one()), ["wait credentials provider http_403"]);
});

Deno.test("SES takes mail that is signed with the credentials of a web identity, a container and an instance", async () => {
  for (const credentials of ["web_identity", "container", "instance"]) {
    await using cloud = await Cloud.open();
    cloud.setWebIdentity();
    cloud.setContainer();
    await using esp = cloud.esp({ credentials });
    const deliveries = Array.from({ length: 10 }, () => deliverInWords(esp, one()));
    assert.deepEqual((await Promise.all(deliveries)).flat(), Array(10).fill("accepted"), credentials);
    assert.equal(cloud.mint.count, 1, "they were asked for once");
    assert.deepEqual((await esp.check(signal)).faults, []);
  }
});

Deno.test("SES takes mail of a role that keys, or a machine, may take on, and of no other", async () => {
  await using cloud = await Cloud.open("AKIDBASE");
  cloud.ses.keys.set("AKIDBASE", { secret: "base" });
  const keys = { "access_key_id": "AKIDBASE", "secret_access_key": "base" };
  await using esp = cloud.esp({ ...keys, role_arn: mailRole });
  assert.deepEqual(await deliverInWords(esp, one()), ["accepted"]);
  assert.match(cloud.ses.http.requests[0]?.headers.get("authorization") ?? "", /Credential=ASIA/);
  await using other = cloud.esp({ ...keys, role_arn: `${mailRole}-other` });
  assert.deepEqual(await deliverInWords(other, one()), ["wait credentials provider credentials_refused"]);

  await using machine = await Cloud.open("ASIA00000001");
  await using its = machine.esp({ credentials: "instance", role_arn: mailRole });
  assert.deepEqual(await deliverInWords(its, one()), ["accepted"]);
  assert.equal(machine.mint.count, 2);
});

Deno.test("credentials are renewed five minutes before they end, and used until then when nobody renews them", async () => {
  await using cloud = await Cloud.open();
  cloud.setContainer();
  await using esp = cloud.esp({ credentials: "container" });
  assert.deepEqual(await deliverInWords(esp, one()), ["accepted"]);
  cloud.pass(54 * minute);
  assert.deepEqual(await deliverInWords(esp, one()), ["accepted"]);
  assert.equal(cloud.mint.count, 1);
  cloud.pass(2 * minute);
  cloud.container.fail({ reply: { status: 500 } }, { reply: { status: 500 } });
  assert.deepEqual(await deliverInWords(esp, one()), ["accepted"]);
  assert.equal(cloud.mint.count, 1, "the old ones are still valid");
  cloud.pass(6000);
  const many = await Promise.all(Array.from({ length: 5 }, () => deliverInWords(esp, one())));
  assert.deepEqual(many.flat(), Array(5).fill("accepted"));
  assert.equal(cloud.mint.count, 2);
  cloud.pass(61 * minute);
  cloud.container.fail({ reply: { status: 500 } }, { reply: { status: 500 } });
  assert.deepEqual(await deliverInWords(esp, one()), ["wait unavailable provider credentials_unavailable"]);
});

Deno.test("credentials that SES calls expired are renewed and the mail is sent in the same call", async () => {
  await using cloud = await Cloud.open();
  cloud.setContainer();
  await using esp = cloud.esp({ credentials: "container" });
  assert.deepEqual(await deliverInWords(esp, one()), ["accepted"]);
  cloud.pass(minute);
  const [id = "", key] = [...cloud.ses.keys][0] ?? [];
  if (key !== undefined) cloud.ses.keys.set(id, { ...key, isExpired: true });
  assert.deepEqual(await deliverInWords(esp, one()), ["accepted"]);
  assert.equal(cloud.mint.count, 2);
  assert.equal(cloud.ses.mails.length, 2);
});

Deno.test("files with tokens are read at each renewal", async () => {
  await using cloud = await Cloud.open();
  cloud.setContainer();
  cloud.setWebIdentity("old");
  await using pod = cloud.esp({ credentials: "container" });
  await using web = cloud.esp({ credentials: "web_identity" });
  assert.deepEqual(await deliverInWords(pod, one()), ["accepted"]);
  assert.deepEqual(await deliverInWords(web, one()), ["wait credentials provider credentials_refused"]);
  cloud.authorization = cloud.files["/auth"] = "changed";
  cloud.files["/token"] = "web-token";
  cloud.pass(58 * minute);
  assert.deepEqual(await deliverInWords(pod, one()), ["accepted"]);
  assert.deepEqual(await deliverInWords(web, one()), ["accepted"]);
  assert.equal(cloud.mint.count, 3);
});

Deno.test("the token service is asked again with its own time where our clock is wrong", async () => {
  await using cloud = await Cloud.open("AKIDBASE");
  cloud.ses.keys.set("AKIDBASE", { secret: "base" });
  const world = { ...cloud.world, now: () => new Date(Date.now() - 7_200_000) };
  const keys = { accessKeyId: "AKIDBASE", secretAccessKey: "base" };
  const source = createCredentials(world)({ kind: "static", keys, roleArn: mailRole });
  assert.match((await source.resolve()).accessKeyId, /^ASIA/);
  assert.equal(cloud.sts.requests.length, 2);
});

const broken: HttpFault = { read: "reset" };
const twice = (fault: HttpFault) => [fault, fault];
const xml = (status: number, code: string): HttpFault => ({
  reply: {
    status,
    body: `<ErrorResponse><Error><Code>${code}</Code><Message>m</Message></Error></ErrorResponse>`,
  },
});
const unavailable = "wait unavailable provider credentials_unavailable";
const refused = "wait credentials provider credentials_refused";

/** Who fails, how, and what becomes of a recipient meanwhile. */
const faults: readonly (readonly ["sts" | "metadata" | "container", readonly HttpFault[], string])[] = [
  ["sts", twice(broken), unavailable],
  ["sts", [broken], "accepted"],
  ["sts", twice({ unread: "reset" }), unavailable],
  ["sts", twice({ reply: { status: 500 } }), unavailable],
  ["sts", [{ reply: { status: 503 } }], "accepted"],
  ["sts", [xml(429, "Throttling")], unavailable],
  ["sts", [xml(400, "Throttling")], unavailable],
  ["sts", [xml(400, "IDPCommunicationError")], unavailable],
  ["sts", [xml(400, "ExpiredTokenException")], refused],
  ["sts", [xml(400, "InvalidIdentityToken")], refused],
  ["sts", [xml(403, "AccessDenied")], refused],
  ["sts", [xml(403, "RegionDisabledException")], refused],
  ["sts", [{ reply: { status: 200, body: "<html>" } }], unavailable],
  ["sts", [{ reply: { status: 302, headers: { Location: "http://169.254.169.254/" } } }], unavailable],
  ["sts", twice({ answered: "close", bytes: 100 }), unavailable],
  ["sts", twice({ reply: { status: 200, body: "x".repeat(100_000) } }), unavailable],
  ["metadata", twice(broken), unavailable],
  ["metadata", twice({ read: "hang" }), unavailable],
  ["metadata", [{ reply: { status: 403 } }], refused],
  ["metadata", [{ reply: { status: 405 } }], refused],
  ["metadata", [{ reply: { status: 200, body: "" } }], unavailable],
  ["metadata", [{ reply: { status: 200, body: "bad\r\n token" } }], unavailable],
  ["metadata", [{ reply: { status: 200, body: "forged" } }], unavailable],
  ["metadata", twice({ reply: { status: 503 } }), unavailable],
  ["container", twice(broken), unavailable],
  ["container", twice({ raw: "SSH-2.0-OpenSSH\r\n" }), unavailable],
  ["container", [{ reply: { status: 401, body: {} } }], refused],
  ["container", [{ reply: { status: 404 } }], refused],
  ["container", [{ reply: { status: 429 } }], unavailable],
  ["container", twice({ reply: { status: 502 } }), unavailable],
  ["container", [{ reply: { status: 307, headers: { Location: "/v1/credentials" } } }], unavailable],
  ["container", [{ reply: { status: 200, body: { Code: "AccessDenied", Message: "no" } } }], refused],
  [
    "container",
    [{ reply: { status: 200, body: { AccessKeyId: "A\nB", SecretAccessKey: "s" } } }],
    unavailable,
  ],
  [
    "container",
    [{ reply: { status: 200, body: { AccessKeyId: "A", SecretAccessKey: "s", Expiration: "soon" } } }],
    unavailable,
  ],
];

Deno.test("whoever hands out credentials and fails costs no mail: it waits and goes out afterwards", async (test) => {
  const kinds = { sts: "web_identity", metadata: "instance", container: "container" } as const;
  for (const [who, list, expected] of faults) {
    await test.step(`${who} ${JSON.stringify(list).slice(0, 100)}: ${expected}`, async () => {
      await using cloud = await Cloud.open();
      cloud.setContainer();
      cloud.setWebIdentity();
      await using esp = cloud.esp({ credentials: kinds[who] });
      cloud[who].fail(...list);
      cloud.isPatient = !JSON.stringify(list).includes("hang");
      const report = await esp.deliver(one(), signal);
      assert.deepEqual([...report.recipients.values()].map(inWords), [expected]);
      assert.equal(cloud[who].unmet, 0);
      const sent = expected === "accepted" ? 1 : 0;
      assert.equal(cloud.ses.http.requests.length, sent, "SES was asked without credentials");
      assert.doesNotMatch(
        JSON.stringify([...report.recipients.values()]),
        /web-token|container-auth|secret\//,
      );
      cloud.pass(6000);
      cloud.isPatient = true;
      assert.deepEqual(await deliverInWords(esp, one()), ["accepted"]);
    });
  }
});

Deno.test("the chain takes what is there first, and goes on only where there is nothing", async () => {
  await using cloud = await Cloud.open();
  const nothing: Record<string, string> = { ...cloud.variables, "AWS_EC2_METADATA_DISABLED": "true" };
  const bare = createCredentials({
    ...cloud.world,
    env: (name) => nothing[name],
  });
  await assert.rejects(
    bare({ kind: "chain" }).resolve(),
    (error) => error instanceof CredentialsFailure && error.code === "credentials_missing",
  );
  cloud.setContainer("wrong");
  await assert.rejects(cloud.source({ kind: "chain" }).resolve(), /answered 401/);
  cloud.setContainer();
  assert.equal((await cloud.source({ kind: "chain" }).resolve()).accessKeyId, "ASIA00000001");
  cloud.setWebIdentity();
  assert.equal((await cloud.source({ kind: "chain" }).resolve()).accessKeyId, "ASIA00000002");
  assert.equal(cloud.sts.requests.length, 1);
  assert.equal(cloud.metadata.requests.length, 0);
});
