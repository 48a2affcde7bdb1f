import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { until } from "../../services/dev/processes.ts";
import { projectFolder } from "../../services/dev/task_command.ts";
import { FakeMailgun } from "../support/fake_mailgun.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";

interface SeenSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
}

interface Export {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly SeenSpan[] }[];
  }[];
}

/** Takes what processes export by OTLP over HTTP, as JSON. */
class Collector implements AsyncDisposable {
  readonly spans: SeenSpan[] = [];
  readonly texts: string[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      const text = await request.text();
      if (new URL(request.url).pathname === "/v1/traces") {
        this.texts.push(text);
        const { resourceSpans } = JSON.parse(text) as Export;
        this.spans.push(
          ...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
        );
      }
      return Response.json({});
    });
  }

  get settings(): Readonly<Record<string, string>> {
    return {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${this.#server.addr.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
  }

  named(name: string): readonly SeenSpan[] {
    return this.spans.filter((span) => span.name === name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

async function send({ smtpPort }: TestSystem): Promise<void> {
  const words =
    "--user dev --password dev --from me@example.com --to you@example.net --insecure --host 127.0.0.1";
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "services/test-client/main.ts", ...words.split(" "), "--port", String(smtpPort)],
    cwd: projectFolder,
    stdin: "null",
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

Deno.test("one trace goes from the SMTP session to the call of a provider, across processes", async () => {
  await using collector = new Collector();
  await withServices({ start: [] }, async (system) => {
    await system.smtpServer.start({ ...collector.settings, OTEL_SERVICE_NAME: "smtp-server" });
    await system.queueWorker.start({ ...collector.settings, OTEL_SERVICE_NAME: "queue-worker" });
    await send(system);
    const isTold = () =>
      ["smtp session", "smtp accept", "queue wait", "delivery", "call stdout"].every((name) =>
        collector.named(name).length > 0
      );
    assert.ok(await until(isTold, 60_000), JSON.stringify(collector.spans));
    const [session] = collector.named("smtp session").filter(({ traceId }) =>
      collector.named("smtp accept").some((accept) => accept.traceId === traceId)
    );
    const [[accept], [wait], [delivery], [call]] = [
      collector.named("smtp accept"),
      collector.named("queue wait"),
      collector.named("delivery"),
      collector.named("call stdout"),
    ];
    assert.ok(session && accept && wait && delivery && call);
    assert.equal(accept.parentSpanId, session.spanId);
    assert.equal(wait.parentSpanId, accept.spanId);
    assert.equal(delivery.parentSpanId, accept.spanId);
    assert.equal(call.parentSpanId, delivery.spanId);
    assert.equal(new Set([session, accept, wait, delivery, call].map(({ traceId }) => traceId)).size, 1);
    const [row] = await rowsOf(system, "select traceparent, correlation_id from messages");
    assert.equal(row?.["traceparent"], `00-${accept.traceId}-${accept.spanId}-01`);
    assert.ok(collector.texts.join().includes(String(row["correlation_id"])));
    assert.doesNotMatch(collector.texts.join(), /example\.(com|net)/);
    const line = `"correlationId":"${row["correlation_id"]}"`;
    assert.ok(await until(async () => (await system.queueWorker.log()).includes(line), 60_000));
  });
});

const signingKey = crypto.getRandomValues(new Uint8Array(16)).toHex();

/** What Mailgun says of a message that it has delivered, signed as it signs. */
function mailgunReport(message: string, call: string): string {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const token = crypto.getRandomValues(new Uint8Array(25)).toHex();
  const signature = createHmac("sha256", signingKey).update(timestamp + token).digest("hex");
  return JSON.stringify({
    signature: { timestamp, token, signature },
    "event-data": {
      id: crypto.randomUUID(),
      timestamp: Number(timestamp),
      event: "delivered",
      recipient: "you@example.net",
      "user-variables": { "message-id": message, "call-id": call },
    },
  });
}

Deno.test("a service's report joins the trace and the correlation id of the session that brought the message", async () => {
  await using collector = new Collector();
  await using mailgun = await FakeMailgun.open();
  const provider = {
    name: "main",
    "provider_type": "mailgun",
    "api_key": mailgun.key,
    "smtp_config": {
      endpoint: mailgun.http.origin,
      domain: mailgun.domain,
      webhook: { "signing_key": signingKey },
    },
  };
  await withServices({ provider, start: [] }, async (system) => {
    const { smtpServer, queueWorker, apiServer } = system;
    const services = [smtpServer, queueWorker, apiServer];
    for (const service of services) {
      await service.start({
        ...collector.settings,
        OTEL_SERVICE_NAME: service.name,
        SMTP_PROXY_LOGGING_LEVEL: "debug",
      });
    }
    await send(system);
    const calls = () =>
      rowsOf(
        system,
        `select m.id, m.correlation_id, l.id as call from messages m join delivery_logs l on l.message_id = m.id
         where m.status = 'delivered'`,
      );
    assert.ok(await until(async () => (await calls()).length === 1, 60_000), await queueWorker.log());
    const [row] = await calls();
    const report = await fetch(`http://127.0.0.1:${system.apiPort}/api/v1/webhooks/mailgun`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: mailgunReport(String(row?.["id"]), String(row?.["call"])),
    });
    assert.equal(report.status, 200, await report.text());

    const names = [
      "smtp session",
      "smtp accept",
      "queue wait",
      "delivery",
      "call mailgun",
      "webhook mailgun",
    ];
    // Each process exports in its own time.
    assert.ok(await until(() => collector.named("smtp accept").length > 0, 60_000));
    const [accept] = collector.named("smtp accept");
    const joined = () => collector.spans.filter(({ traceId }) => traceId === accept?.traceId);
    const isTold = () => names.every((name) => joined().some((span) => span.name === name));
    assert.ok(await until(isTold, 60_000), JSON.stringify(collector.spans.map(({ name }) => name)));
    assert.equal(collector.named("webhook mailgun")[0]?.parentSpanId, accept?.spanId);
    assert.doesNotMatch(collector.texts.join(), /(me|you)(@|%40)example/);

    const correlationId = String(row?.["correlation_id"]);
    const asked = mailgun.http.requests.find(({ target }) => target.endsWith("/messages.mime"));
    assert.equal(asked?.headers.get("x-correlation-id"), correlationId);
    // What a service has said is in its log once it has ended.
    for (const service of services) assert.equal(await service.stop(), 0, service.name);
    const lines = await Promise.all(services.map(async (service) => {
      const told = (await service.log()).split("\n").filter((line) => line.includes(correlationId));
      return told.map((line) => (JSON.parse(line) as { readonly message: string }).message);
    }));
    const [taken = [], delivered = [], reported = []] = lines;
    assert.ok(taken.includes("message accepted"), String(taken));
    assert.ok(delivered.length > 0);
    assert.deepEqual(reported, ["report received"]);
  });
});
