import assert from "node:assert/strict";
import { until } from "../../services/dev/processes.ts";
import { fakeBucket, fakeKeys, startFakeS3 } from "../support/fake_s3.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";
import { submitMail } from "../support/submit_mail.ts";

async function submit(system: TestSystem, size: number): Promise<void> {
  const text =
    `From: me@example.com\r\nSubject: ${size}\r\nMessage-ID: <${crypto.randomUUID()}@example.com>\r\n\r\n` +
    "A line of sixty-four bytes, its end included, to fill the mail.\r\n".repeat(size / 66);
  await submitMail(system, text);
}

Deno.test("mail goes through S3, and through the row while S3 is down", async () => {
  await using fake = startFakeS3();
  await using sink = await SmtpSink.open();
  const provider = {
    name: "sink",
    "provider_type": "smtp",
    "smtp_config": { host: "127.0.0.1", port: sink.port, tls: "none" },
  };
  const env = {
    SMTP_PROXY_STORAGE_TYPE: "s3",
    SMTP_PROXY_STORAGE_S3_BUCKET: fakeBucket,
    SMTP_PROXY_STORAGE_S3_PREFIX: "mail",
    SMTP_PROXY_STORAGE_S3_ENDPOINT: fake.origin,
    SMTP_PROXY_STORAGE_S3_ACCESS_KEY_ID: fakeKeys.accessKeyId,
    SMTP_PROXY_STORAGE_S3_SECRET_ACCESS_KEY: fakeKeys.secretAccessKey,
  };
  await withServices({ env, provider, start: ["smtpServer", "queueWorker"] }, async (system) => {
    const sizes = [2_000, 300_000, 12_000_000];
    for (const size of sizes) await submit(system, size);
    assert.ok(await until(() => sink.mails.length === sizes.length, 60_000));
    const stored = [...fake.bucket.objects.values()].map(({ bytes }) => bytes.length).sort((a, b) => a - b);
    const rows = await rowsOf(
      system,
      "select split_part(storage_ref, ':', 1) as at, size from messages order by size",
    );
    assert.deepEqual(rows.map((row) => row["at"]), ["s3", "s3", "s3"]);
    assert.deepEqual(rows.map((row) => Number(row["size"])), stored);
    assert.equal((await system.queueWorker.ask("/readyz"))?.status, 200);

    fake.keys.clear(); // from now on every request is refused
    await submit(system, 3_000);
    assert.ok(await until(() => sink.mails.length === sizes.length + 1, 60_000));
    const inline = await rowsOf(
      system,
      "select count(*)::int as n from messages where storage_ref = 'inline'",
    );
    assert.deepEqual(inline, [{ n: 1 }]);
    const isNotReady = async () => (await system.queueWorker.ask("/readyz"))?.status === 503;
    assert.ok(await until(isNotReady, 60_000));
  });
});
