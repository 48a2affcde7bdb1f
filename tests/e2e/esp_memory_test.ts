import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { GroupId, MessageId, RecipientId } from "../../lib/ids.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import { openPostgresQueue } from "../../lib/queue/postgres_queue.ts";
import { sendOnce } from "../../lib/smtp/client.ts";
import { until } from "../../services/dev/processes.ts";
import { peakResidentMiB } from "../bench/measure.ts";
import { openSink } from "../bench/sink_handle.ts";
import { FakeGraph } from "../support/fake_graph.ts";
import { app, graphSettingsOf } from "../support/graph_app.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";

const messages = 10;
const megabyte = 1_000_000;
/** The default of `worker.body_memory`, and what the process may take besides. */
const limitMiB = 256 + 150 * megabyte / (1 << 20);

/** 25 MB, nearly all of them one attachment. */
function largeMail(): Uint8Array {
  const head = [
    "From: me@example.com",
    "To: you@example.net",
    "Subject: large",
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="b"',
    "",
    "--b",
    "Content-Type: text/plain",
    "",
    "Hello",
    "--b",
    'Content-Type: application/octet-stream; name="a.bin"',
    'Content-Disposition: attachment; filename="a.bin"',
    "Content-Transfer-Encoding: base64",
    "",
    "",
  ].join("\r\n");
  const line = Buffer.from(`${Buffer.alloc(57, 7).toString("base64")}\r\n`);
  const lines = Buffer.alloc(Math.floor(25 * megabyte / line.length) * line.length, line);
  return Buffer.concat([Buffer.from(head), lines, Buffer.from("--b--\r\n")]);
}

const target = (system: TestSystem) => ({
  address: "127.0.0.1",
  port: system.smtpPort,
  tls: "starttls" as const,
  verify: false,
  servername: "localhost",
  credentials: { username: "dev", password: "dev" },
});

const envelope = {
  mailFrom: "me@example.com",
  recipients: [{ id: 1 as RecipientId, address: "you@example.net", attempts: 0 }],
  eightBit: false,
  smtpUtf8: false,
};

/** Takes everything, keeps nothing and takes its time, so that as many calls run at once as may. */
function openService() {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    for await (const _chunk of request.body ?? []) continue;
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { pathname } = new URL(request.url);
    if (pathname.endsWith("/outbound-emails")) return Response.json({ MessageId: crypto.randomUUID() });
    if (pathname.endsWith("/messages.mime")) {
      return Response.json({ id: `<${crypto.randomUUID()}@example.com>`, message: "Queued. Thank you." });
    }
    return new Response(null, { status: 202, headers: { "x-message-id": crypto.randomUUID() } });
  });
  return { url: `http://127.0.0.1:${server.addr.port}`, [Symbol.asyncDispose]: () => server.shutdown() };
}

interface Service extends AsyncDisposable {
  readonly config: Readonly<Record<string, unknown>>;
}

function simpleService(config: Readonly<Record<string, unknown>>): Promise<Service> {
  const service = openService();
  return Promise.resolve({
    config: { ...config, endpoint: service.url },
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  });
}

const services: Readonly<Record<string, () => Promise<Service>>> = {
  async smtp() {
    const sink = await openSink("/tmp");
    return {
      config: { host: "127.0.0.1", port: sink.port, tls: "none" },
      [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
    };
  },
  sendgrid: () => simpleService({ "api_key": "SG.key" }),
  ses: () =>
    simpleService({ region: "eu-west-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret" }),
  mailgun: () => simpleService({ domain: "example.com", "api_key": "key" }),
  async msgraph() {
    const fake = await FakeGraph.open(app);
    fake.senders.add("me@example.com");
    return { config: graphSettingsOf(fake), [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose]() };
  },
};

/** Makes every message as it was before it was delivered, and rings for it. */
async function deliverAgain(system: TestSystem): Promise<void> {
  await rowsOf(
    system,
    `begin; delete from delivery_logs;
    update recipients set status = 'pending', attempts = 0, call_id = null, next_attempt_at = now();
    update messages set status = 'queued', attempts = 0, next_attempt_at = now(); commit`,
  );
  const rows = await rowsOf(system, "select id, group_id from messages");
  await using database = openDatabase({ url: system.ownerUrl, role: "smtp_proxy_worker" });
  await using queue = openPostgresQueue({ database });
  await queue.push(
    rows.map((row) => ({ message: row["id"] as MessageId, group: row["group_id"] as GroupId })),
  );
}

Deno.test("ten messages of 25 MB at once through any ESP stay within worker.body_memory and 150 MB", async () => {
  await withServices({ start: ["smtpServer"] }, async (system) => {
    const mail = largeMail();
    for (let count = 0; count < messages; count++) {
      const { answer } = await sendOnce(target(system), envelope, mail);
      assert.equal(answer?.code, 250);
    }
    for (const [kind, open] of Object.entries(services)) {
      await using service = await open();
      await system.seed({ name: kind, "provider_type": kind, "smtp_config": service.config });
      await deliverAgain(system);
      await system.queueWorker.start();
      const left = async () =>
        (await rowsOf(system, "select count(*)::int as left from messages where status <> 'delivered'"))[0]
          ?.["left"];
      assert.ok(await until(async () => await left() === 0, 300_000), `${kind}: ${await left()} are left`);
      const peak = peakResidentMiB(system.queueWorker.pid);
      await system.queueWorker.stop();
      assert.ok(
        peak < limitMiB,
        `${kind}: ${Math.round(peak)} MiB resident, at most ${Math.round(limitMiB)} are wanted`,
      );
    }
  });
});
