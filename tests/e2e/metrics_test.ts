import assert from "node:assert/strict";
import { declaredMetrics } from "../../lib/telemetry/metrics_declared.ts";
import { until } from "../../services/dev/processes.ts";
import { type TestSystem, withServices } from "../support/spawn_services.ts";
import { submitMail } from "../support/submit_mail.ts";

/** What one mail and one question to the API move. */
const moved = `build_info process_resident_memory_bytes process_heap_bytes process_start_time_seconds
  batch_size_count smtp_connections_total smtp_auth_attempts_total smtp_message_enqueued_total
  smtp_message_enqueue_duration_seconds_count queue_messages_processed_total
  queue_message_processing_duration_seconds_count delivery_attempts_total delivery_call_duration_seconds_count
  api_requests_total api_request_duration_seconds_count db_query_duration_seconds_count db_connections_idle
  store_free_bytes`.split(/\s+/);

/** Only there where something is: a permission, a certificate in files. */
const notAlways = ["process_open_fds", "tls_certificate_expiry_timestamp_seconds"];

async function send(system: TestSystem): Promise<void> {
  await submitMail(system, "From: me@example.com\r\nSubject: x\r\n\r\nx\r\n");
}

Deno.test("every declared metric is shown by a service, and mail moves those that tell of it", async () => {
  await withServices({}, async (system) => {
    const services = [system.smtpServer, system.queueWorker, system.apiServer];
    await send(system);
    const processed = () => system.queueWorker.metric("queue_messages_processed_total", 'status="sent"');
    assert.ok(await until(async () => await processed() === 1, 60_000));
    const asked = await fetch(`http://127.0.0.1:${system.apiPort}/api/v1/auth/me`);
    await asked.body?.cancel();
    const texts = await Promise.all(services.map(async (one) => (await one.ask("/metrics"))?.text ?? ""));
    const publicly = await fetch(`http://127.0.0.1:${system.apiPort}/metrics`);
    assert.equal(publicly.status, 200);
    assert.match(await publicly.text(), /^api_requests_total\{/m);

    const types = new Set(
      texts.flatMap((text) => [...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name)),
    );
    const names = Object.values(declaredMetrics).flatMap((part) =>
      Object.values(part).map(({ name }) => name)
    );
    assert.deepEqual(names.filter((name) => !types.has(name)), []);
    const series = new Map<string, number>();
    for (const [, name = "", value] of texts.join("\n").matchAll(/^(\w+)(?:\{[^}]*\})? (\S+)$/gm)) {
      series.set(name, Math.max(series.get(name) ?? 0, Number(value)));
    }
    assert.deepEqual(moved.filter((name) => !((series.get(name) ?? 0) > 0)), []);
    for (const name of notAlways) assert.equal(series.has(name), false, name);
    assert.ok(texts.join("\n").split("\n").length < 5000);
  });
});
