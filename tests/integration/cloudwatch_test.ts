import assert from "node:assert/strict";
import type { CredentialSource } from "../../lib/aws/credentials.ts";
import { CloudWatchClient } from "../../lib/telemetry/cloudwatch.ts";
import { CloudWatchStream, type CloudWatchStreamOptions } from "../../lib/telemetry/cloudwatch_stream.ts";
import { FakeCloudWatch } from "../support/fake_cloudwatch.ts";
import { until } from "../support/until.ts";

const place = "mail smtp-server/host/0";

interface Told {
  dropped: number;
  readonly faults: string[];
  readonly lastWords: string[];
}

function open(
  fake: FakeCloudWatch,
  options: Partial<CloudWatchStreamOptions> = {},
  credentials = keysOf(fake),
) {
  const told: Told = { dropped: 0, faults: [], lastWords: [] };
  const client = new CloudWatchClient({
    endpoint: new URL(fake.http.origin),
    region: fake.region,
    group: "mail",
    stream: "smtp-server/host/0",
    credentials,
    fetch,
    now: () => new Date(),
  });
  const stream = new CloudWatchStream({
    client,
    maxWaitingBytes: 16 << 20,
    onDropped: (count) => told.dropped += count,
    onFault: (reason) => told.faults.push(reason),
    lastResort: (text) => told.lastWords.push(text),
    gatherMs: 1,
    firstPauseMs: 1,
    closeMs: 60_000,
    ...options,
  });
  return { stream, told };
}

/** The first of the account's keys that were not called wrong. */
function keysOf(fake: FakeCloudWatch): CredentialSource {
  const wrong = new Set<string>();
  return {
    resolve: () => {
      const [id = "", key = { secret: "" }] = [...fake.keys].find(([name]) => !wrong.has(name)) ?? [];
      const { secret, token } = key;
      return Promise.resolve({
        accessKeyId: id,
        secretAccessKey: secret,
        ...token && { sessionToken: token },
      });
    },
    reject: ({ accessKeyId }) => wrong.add(accessKeyId),
  };
}

function close(stream: CloudWatchStream): Promise<void> {
  return new Promise((resolve) => {
    stream.on("close", () => resolve());
    stream.end();
  });
}

function messages(fake: FakeCloudWatch): readonly string[] {
  return (fake.streams.get(place) ?? []).map(({ message }) => message);
}

Deno.test("CloudWatchStream makes group and stream, and sends every line once and in order", async () => {
  await using fake = await FakeCloudWatch.open();
  const { stream, told } = open(fake);
  const lines = Array.from({ length: 5000 }, (_, n) => JSON.stringify({ n, detail: "ü".repeat(300) }));
  for (let at = 0; at < lines.length; at += 100) stream.write(lines.slice(at, at + 100).join("\n") + "\n");
  await close(stream);
  assert.deepEqual(messages(fake), lines);
  assert.deepEqual(told, { dropped: 0, faults: [], lastWords: [] });
});

Deno.test("CloudWatchStream keeps lines while the service is away, tells it once, and never makes who logs wait", async () => {
  await using fake = await FakeCloudWatch.open();
  const away = { reply: { status: 503, body: { __type: "ServiceUnavailableException" } } };
  fake.http.fail(away, { read: "reset" }, away, { unread: "close" });
  const { stream, told } = open(fake);
  stream.write('{"n":1}\n');
  await fake.http.read(2);
  stream.write('{"n":2}\n');
  await fake.http.read(5);
  await close(stream);
  assert.deepEqual([...new Set(messages(fake))], ['{"n":1}', '{"n":2}']);
  assert.equal(told.faults.length, 1);
  assert.match(told.faults[0] ?? "", /503 ServiceUnavailableException/);
  assert.equal(told.dropped, 0);
});

Deno.test("CloudWatchStream drops and counts what its memory does not hold, and hands on what is left at the end", async () => {
  await using fake = await FakeCloudWatch.open();
  fake.http.fail(...Array.from({ length: 50 }, () => ({ read: "hang" as const })));
  const { stream, told } = open(fake, { maxWaitingBytes: 100, closeMs: 10 });
  stream.write(`${"a".repeat(50)}\n${"b".repeat(50)}\nc\n`);
  await fake.http.read(1);
  await close(stream);
  assert.equal(told.dropped, 2);
  assert.deepEqual(told.lastWords, [`${"a".repeat(50)}\n`]);
});

Deno.test("CloudWatchStream takes new credentials for expired ones, and the service's time for its own", async () => {
  await using fake = await FakeCloudWatch.open();
  fake.keys.clear();
  fake.keys.set("ASIAOLD", { secret: "old", token: "t1", isExpired: true });
  fake.keys.set("ASIANEW", { secret: "new", token: "t2" });
  fake.aheadMs = -20 * 60_000;
  fake.groups.add("mail");
  fake.streams.set(place, []);
  const { stream, told } = open(fake);
  stream.write("first\n");
  await close(stream);
  assert.deepEqual(messages(fake), ["first"]);
  assert.equal(told.dropped, 0);
});

Deno.test("CloudWatchStream counts lines that the service refuses for good, and goes on", async () => {
  await using fake = await FakeCloudWatch.open();
  fake.http.fail({ reply: { status: 400, body: { __type: "InvalidParameterException", message: "no" } } });
  const { stream, told } = open(fake);
  stream.write("one\ntwo\n");
  await fake.http.read(1);
  await until("both lines are counted", () => told.dropped === 2);
  stream.write("three\n");
  await close(stream);
  assert.deepEqual(messages(fake), ["three"]);
  assert.match(told.faults.join(), /400 InvalidParameterException: no/);
});
