import assert from "node:assert/strict";
import { createMetrics } from "../../lib/telemetry/metrics.ts";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import { followCertificate } from "../../services/smtp-server/follow_certificate.ts";
import type { Certificate } from "../../services/smtp-server/listener_options.ts";
import { memoryLog } from "../support/memory_log.ts";

const start = Date.parse("2030-01-01T00:00:00Z");
const day = 86_400_000;

async function withFiles(
  work: (
    files: { certFile: string; keyFile: string; write: (made: Certificate) => Promise<void> },
  ) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const [certFile, keyFile] = [`${folder}/cert.pem`, `${folder}/key.pem`];
  async function write({ cert, key }: Certificate): Promise<void> {
    await Deno.writeTextFile(certFile, cert);
    await Deno.writeTextFile(keyFile, key);
  }
  try {
    await work({ certFile, keyFile, write });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function expiry(metrics: ReturnType<typeof createMetrics>): Promise<number> {
  const found = /^tls_certificate_expiry_timestamp_seconds\{[^}]*\} (\S+)$/m.exec(await metrics.text());
  return Number(found?.[1]);
}

Deno.test("followCertificate() hands on what changed, and only pairs that fit", () =>
  withFiles(async ({ certFile, keyFile, write }) => {
    const [first, second] = [
      await selfSignedCertificate(new Date(start), "a"),
      await selfSignedCertificate(new Date(start + day), "a"),
    ];
    await write(first);
    const [metrics, log, used] = [createMetrics(), memoryLog(), [] as Certificate[]];
    using followed = await followCertificate({
      mode: "starttls",
      certFile,
      keyFile,
      log,
      metrics,
      use: (certificate) => void used.push(certificate),
      now: () => start,
      everyMs: 1e9,
    });
    await followed.reload();
    assert.deepEqual(used, []);
    await Deno.writeTextFile(certFile, second.cert);
    await followed.reload();
    await followed.reload();
    assert.deepEqual(used, []);
    assert.equal(await expiry(metrics), start / 1000 + 365 * 86_400);
    await Deno.writeTextFile(keyFile, second.key);
    await followed.reload();
    assert.deepEqual(used, [second]);
    assert.equal(await expiry(metrics), start / 1000 + 366 * 86_400);
    await Deno.remove(certFile);
    await followed.reload();
    assert.equal(used.length, 1);
    assert.deepEqual(log.lines.map(({ sentence }) => sentence), [
      "TLS certificate not changed",
      "TLS certificate changed",
      "TLS certificate not changed",
    ]);
  }));

Deno.test("followCertificate() warns once a day from two weeks before the end, until there is another", () =>
  withFiles(async ({ certFile, keyFile, write }) => {
    await write(await selfSignedCertificate(new Date(start), "a"));
    let now = start + 350 * day;
    const log = memoryLog();
    const metrics = createMetrics();
    const options = {
      mode: "starttls" as const,
      certFile,
      keyFile,
      log,
      metrics,
      use: () => {},
      now: () => now,
      everyMs: 1e9,
    };
    using followed = await followCertificate(options);
    const sentences = async (later: number) => {
      now += later;
      await followed.reload();
      return log.lines.map(({ sentence }) => sentence);
    };
    const soon = "TLS certificate expires soon";
    assert.deepEqual(await sentences(0), []);
    assert.deepEqual(await sentences(2 * day), [soon]);
    assert.deepEqual(await sentences(day / 2), [soon]);
    assert.deepEqual(await sentences(day / 2), [soon, soon]);
    assert.deepEqual(await sentences(20 * day), [soon, soon, "TLS certificate has expired"]);
    await write(await selfSignedCertificate(new Date(now), "a"));
    assert.equal((await sentences(2 * day)).at(-1), "TLS certificate changed");
  }));
