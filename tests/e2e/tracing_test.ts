import assert from "node:assert/strict";
import { until } from "../../services/dev/processes.ts";
import { projectFolder } from "../../services/dev/task_command.ts";
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
    assert.ok(await until(isTold, 30_000), JSON.stringify(collector.spans));
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
    assert.match(await system.queueWorker.log(), new RegExp(`"correlationId":"${row["correlation_id"]}"`));
  });
});
