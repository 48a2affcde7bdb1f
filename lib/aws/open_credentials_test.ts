import assert from "node:assert/strict";
import { CredentialsFailure, type CredentialWish, type CredentialWorld } from "./credentials.ts";
import { createCredentials } from "./open_credentials.ts";

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly body: string;
}

type Answer = (asked: Asked) => Response | Promise<Response>;

/** A world of variables, files and one service. */
function worldOf(
  variables: Readonly<Record<string, string>>,
  answer: Answer = () => new Response("", { status: 404 }),
  files: Readonly<Record<string, string>> = {},
) {
  const asked: Asked[] = [];
  const call = async (input: string | URL | Request, init?: RequestInit) => {
    const request = new Request(input, init);
    const one = {
      method: request.method,
      url: request.url,
      headers: request.headers,
      body: await request.text(),
    };
    asked.push(one);
    return await answer(one);
  };
  const world: CredentialWorld = {
    fetch: call as typeof fetch,
    fetchDirect: call,
    now: () => new Date("2026-01-02T03:04:05Z"),
    env: (name) => variables[name],
    readTextFile: (path) =>
      path in files ? Promise.resolve(files[path] ?? "") : Promise.reject(new Error("no such file")),
  };
  return { asked, open: (wish: CredentialWish) => createCredentials(world)(wish) };
}

const json = JSON.stringify({
  Code: "Success",
  AccessKeyId: "ASIA1",
  SecretAccessKey: "secret",
  Token: "token",
  Expiration: "2026-01-02T09:00:00Z",
});
const temporary = {
  accessKeyId: "ASIA1",
  secretAccessKey: "secret",
  sessionToken: "token",
  expiresAt: new Date("2026-01-02T09:00:00Z"),
};
const stsXml =
  `<R><AssumedRoleUser><Arn>x</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIA1</AccessKeyId>` +
  `<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>` +
  `<Expiration>2026-01-02T09:00:00Z</Expiration></Credentials></R>`;

function failsWith(code: string, text: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof CredentialsFailure);
    assert.equal(error.code, code);
    assert.match(error.message, text);
    assert.doesNotMatch(error.message, /secret|bearer-token/);
    return true;
  };
}

Deno.test("static: keys as they were given; missing ones are said to be missing", async () => {
  const keys = { accessKeyId: "AKIA", secretAccessKey: "s" };
  assert.deepEqual(await worldOf({}).open({ kind: "static", keys }).resolve(), keys);
  await assert.rejects(
    worldOf({}).open({ kind: "static" }).resolve(),
    failsWith("credentials_missing", /no keys/),
  );
});

Deno.test("environment: reads keys, session token and expiry, and names the variable that is missing", async () => {
  const variables = {
    AWS_ACCESS_KEY_ID: "ASIA1",
    AWS_SECRET_ACCESS_KEY: "secret",
    AWS_SESSION_TOKEN: "token",
    AWS_CREDENTIAL_EXPIRATION: "2026-01-02T09:00:00Z",
  };
  assert.deepEqual(await worldOf(variables).open({ kind: "environment" }).resolve(), temporary);
  const half = worldOf({ AWS_ACCESS_KEY_ID: "A", AWS_SECRET_ACCESS_KEY: "" });
  await assert.rejects(
    half.open({ kind: "environment" }).resolve(),
    failsWith("credentials_missing", /AWS_SECRET_ACCESS_KEY is not set$/),
  );
});

Deno.test("container: asks the ECS address with the token, which is read from its file each time", async () => {
  const files: Record<string, string> = { "/token": "bearer-token\n" };
  const { asked, open } = worldOf(
    {
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/v2/credentials/abc",
      AWS_CONTAINER_AUTHORIZATION_TOKEN: "other",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/token",
    },
    () => new Response(json),
    files,
  );
  assert.deepEqual(await open({ kind: "container" }).resolve(), temporary);
  assert.equal(asked[0]?.url, "http://169.254.170.2/v2/credentials/abc");
  assert.equal(asked[0]?.headers.get("authorization"), "bearer-token");
  files["/token"] = "second";
  await open({ kind: "container" }).resolve();
  assert.equal(asked[1]?.headers.get("authorization"), "second");
});

Deno.test("container: a full address is any by https, by http those of ECS, EKS and loopback alone", async () => {
  const good = [
    "https://credentials.example/x",
    "http://127.0.0.1:9/x",
    "http://127.3.2.1/x",
    "http://localhost/x",
    "http://[::1]:80/x",
    "http://169.254.170.2/x",
    "http://169.254.170.23/v1/credentials",
    "http://[fd00:ec2::23]/v1/credentials",
  ];
  for (const url of good) {
    const { open } = worldOf({ AWS_CONTAINER_CREDENTIALS_FULL_URI: url }, () => new Response(json));
    assert.equal((await open({ kind: "container" }).resolve()).accessKeyId, "ASIA1", url);
  }
  const bad = [
    "http://credentials.example/x",
    "http://127.example.com/x",
    "http://169.254.169.254/x",
    "http://169.254.170.2.example/x",
    "http://169.254.170.2@evil.example/x",
    "http://10.0.0.1/x",
    "file:///token",
    "nonsense",
  ];
  for (const url of bad) {
    const { open, asked } = worldOf({ AWS_CONTAINER_CREDENTIALS_FULL_URI: url }, () => new Response(json));
    await assert.rejects(open({ kind: "container" }).resolve(), failsWith("credentials_refused", /FULL_URI/));
    assert.equal(asked.length, 0, url);
  }
});

Deno.test("container: nothing configured is missing; no file, line ends in the token and a 403 are refused", async () => {
  const relative = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/x" };
  const cases: readonly (readonly [Record<string, string>, Answer, string, RegExp])[] = [
    [{}, () => new Response(json), "credentials_missing", /neither/],
    [
      { ...relative, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/none" },
      () => new Response(json),
      "credentials_refused",
      /cannot be read/,
    ],
    [
      { ...relative, AWS_CONTAINER_AUTHORIZATION_TOKEN: "bearer-token\r\nx: y" },
      () => new Response(json),
      "credentials_refused",
      /line end/,
    ],
    [relative, () => new Response("", { status: 403 }), "credentials_refused", /403/],
    [relative, () => new Response("", { status: 429 }), "credentials_unavailable", /429/],
    [relative, () => new Response("", { status: 500 }), "credentials_unavailable", /500/],
    [relative, () => new Response("<html>"), "credentials_unavailable", /no JSON/],
    [relative, () => new Response('{"AccessKeyId":"x"}'), "credentials_unavailable", /no keys/],
    [relative, () => new Response("x".repeat(70_000)), "credentials_unavailable", /longer/],
    [
      relative,
      () => Promise.reject(new TypeError("fetch failed")),
      "credentials_unavailable",
      /fetch failed/,
    ],
  ];
  for (const [variables, answer, code, text] of cases) {
    await assert.rejects(
      worldOf(variables, answer).open({ kind: "container" }).resolve(),
      failsWith(code, text),
    );
  }
});

Deno.test("instance: takes a session token with PUT, then the role's keys with it", async () => {
  const { asked, open } = worldOf({}, ({ method, url, headers }) => {
    if (method === "PUT") return new Response("session");
    if (headers.get("x-aws-ec2-metadata-token") !== "session") return new Response("", { status: 401 });
    return new Response(url.endsWith("/security-credentials/") ? "my-role\n" : json);
  });
  assert.deepEqual(await open({ kind: "instance" }).resolve(), temporary);
  assert.deepEqual(asked.map(({ method, url }) => `${method} ${url}`), [
    "PUT http://169.254.169.254/latest/api/token",
    "GET http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "GET http://169.254.169.254/latest/meta-data/iam/security-credentials/my-role",
  ]);
  assert.equal(asked[0]?.headers.get("x-aws-ec2-metadata-token-ttl-seconds"), "21600");
});

Deno.test("instance: is switched off, moved and spoken to by IPv6 as the environment says", async () => {
  const off = worldOf({ AWS_EC2_METADATA_DISABLED: "True" });
  await assert.rejects(
    off.open({ kind: "instance" }).resolve(),
    failsWith("credentials_missing", /DISABLED/),
  );
  const places = [
    [
      { AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://127.0.0.1:1338/" },
      "http://127.0.0.1:1338/latest/api/token",
    ],
    [{ AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: "IPv6" }, "http://[fd00:ec2::254]/latest/api/token"],
  ] as const;
  for (const [variables, expected] of places) {
    const { asked, open } = worldOf(variables);
    await assert.rejects(open({ kind: "instance" }).resolve(), CredentialsFailure);
    assert.equal(asked[0]?.url, expected);
  }
});

Deno.test("instance: never falls back to the first version, and says when there is no role", async () => {
  const old = worldOf(
    {},
    ({ method }) => method === "PUT" ? new Response("", { status: 405 }) : new Response(json),
  );
  await assert.rejects(old.open({ kind: "instance" }).resolve(), failsWith("credentials_refused", /405/));
  assert.equal(old.asked.length, 1);
  const bare = worldOf(
    {},
    ({ method }) => method === "PUT" ? new Response("t") : new Response("", { status: 404 }),
  );
  await assert.rejects(
    bare.open({ kind: "instance" }).resolve(),
    failsWith("credentials_missing", /no role/),
  );
  const said = JSON.stringify({ Code: "AssumeRoleUnauthorizedAccess", Message: "no trust" });
  const untrusted = worldOf(
    {},
    ({ method, url }) => new Response(method === "PUT" ? "t" : url.endsWith("/") ? "role" : said),
  );
  await assert.rejects(
    untrusted.open({ kind: "instance" }).resolve(),
    failsWith("credentials_refused", /AssumeRoleUnauthorizedAccess: no trust/),
  );
});

Deno.test("web identity: exchanges the file's token at the region's token service, unsigned", async () => {
  const variables = {
    AWS_WEB_IDENTITY_TOKEN_FILE: "/t",
    AWS_ROLE_ARN: "arn:aws:iam::1:role/r",
    AWS_ROLE_SESSION_NAME: "pod",
    AWS_REGION: "eu-west-1",
  };
  const { asked, open } = worldOf(variables, () => new Response(stsXml), { "/t": "bearer-token\n" });
  assert.deepEqual(await open({ kind: "web_identity" }).resolve(), temporary);
  assert.equal(asked[0]?.url, "https://sts.eu-west-1.amazonaws.com/");
  assert.equal(asked[0]?.headers.get("authorization"), null);
  assert.deepEqual(Object.fromEntries(new URLSearchParams(asked[0]?.body)), {
    Action: "AssumeRoleWithWebIdentity",
    Version: "2011-06-15",
    DurationSeconds: "3600",
    RoleArn: "arn:aws:iam::1:role/r",
    RoleSessionName: "pod",
    WebIdentityToken: "bearer-token",
  });
});

Deno.test("web identity: a refusal is told with its code, trouble is no refusal", async () => {
  const variables = { AWS_WEB_IDENTITY_TOKEN_FILE: "/t", AWS_ROLE_ARN: "r", AWS_REGION: "cn-north-1" };
  const error = (code: string, status: number): Answer => () =>
    new Response(
      `<ErrorResponse><Error><Code>${code}</Code><Message>a &lt;b&gt;</Message></Error></ErrorResponse>`,
      {
        status,
      },
    );
  const cases: readonly (readonly [Answer, string, RegExp])[] = [
    [error("ExpiredTokenException", 400), "credentials_refused", /400 ExpiredTokenException: a <b>$/],
    [error("AccessDenied", 403), "credentials_refused", /AccessDenied/],
    [error("IDPCommunicationError", 400), "credentials_unavailable", /IDP/],
    [error("Throttling", 400), "credentials_unavailable", /Throttling/],
    [error("InternalFailure", 500), "credentials_unavailable", /500/],
    [() => new Response("<Credentials/>"), "credentials_unavailable", /no keys/],
  ];
  for (const [answer, code, text] of cases) {
    const { open, asked } = worldOf(variables, answer, { "/t": "bearer-token" });
    await assert.rejects(open({ kind: "web_identity" }).resolve(), failsWith(code, text));
    assert.equal(asked[0]?.url, "https://sts.cn-north-1.amazonaws.com.cn/");
  }
  const gone = worldOf(variables);
  await assert.rejects(
    gone.open({ kind: "web_identity" }).resolve(),
    failsWith("credentials_refused", /cannot be read/),
  );
});

Deno.test("a role is taken on with signed requests, after the clock was put right where it is wrong", async () => {
  const keys = { accessKeyId: "AKIA", secretAccessKey: "s", sessionToken: "base" };
  const { asked, open } = worldOf(
    {},
    ({ headers }) =>
      headers.get("x-amz-date")?.startsWith("20260102T04") ? new Response(stsXml) : new Response(
        "<Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired</Message></Error>",
        {
          status: 403,
          headers: { date: "Fri, 02 Jan 2026 04:04:05 GMT" },
        },
      ),
  );
  const wish = { kind: "static", keys, roleArn: "arn:aws:iam::1:role/r", region: "us-west-2" } as const;
  assert.deepEqual(await open(wish).resolve(), temporary);
  assert.equal(asked.length, 2);
  assert.match(asked[1]?.headers.get("authorization") ?? "", /AKIA\/20260102\/us-west-2\/sts\/aws4_request/);
  assert.equal(asked[1]?.headers.get("x-amz-security-token"), "base");
  assert.match(asked[1]?.body ?? "", /^Action=AssumeRole&/);
});

Deno.test("chain: takes the first that is there, and says what was looked for when none is", async () => {
  const variables = { AWS_ACCESS_KEY_ID: "AKIA", AWS_SECRET_ACCESS_KEY: "secret" };
  const keys = { accessKeyId: "own", secretAccessKey: "s" };
  assert.equal((await worldOf(variables).open({ kind: "chain", keys }).resolve()).accessKeyId, "own");
  assert.equal((await worldOf(variables).open({ kind: "chain" }).resolve()).accessKeyId, "AKIA");
  const nothing = worldOf({ AWS_EC2_METADATA_DISABLED: "true" });
  await assert.rejects(
    nothing.open({ kind: "chain" }).resolve(),
    failsWith("credentials_missing", /neither settings, environment, web identity, container nor instance/),
  );
});

Deno.test("createCredentials() shares what is everybody's and keeps apart what belongs to one", () => {
  const create = createCredentials({
    fetch,
    fetchDirect: fetch,
    now: () => new Date(0),
    env: () => undefined,
    readTextFile: () => Promise.reject(new Error("none")),
  });
  assert.equal(create({ kind: "instance" }), create({ kind: "instance" }));
  const keys = { accessKeyId: "a", secretAccessKey: "b" };
  assert.notEqual(create({ kind: "static", keys }), create({ kind: "static", keys }));
});
