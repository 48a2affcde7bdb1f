import assert from "node:assert/strict";
import { sendOnce } from "../../lib/smtp/client.ts";
import type { RecipientId } from "../../lib/ids.ts";
import { until } from "../../services/dev/processes.ts";
import { httpServices } from "../support/http_services.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";

const envelope = ["named@example.net", "copied@example.net", "blind@example.net"];

/** Names two recipients, hides one, and names somebody whom the envelope does not. */
function mailAbout(kind: string): string {
  return [
    "From: Sender <me@example.com>",
    "To: Named <named@example.net>, not-in-envelope@example.net",
    "Cc: copied@example.net",
    "Bcc: blind@example.net",
    `Subject: By ${kind}`,
    "Date: Mon, 23 Nov 2026 01:02:03 +0000",
    `Message-ID: <${crypto.randomUUID()}@example.com>`,
    "",
    `Delivered by ${kind}`,
    "",
  ].join("\r\n");
}

async function submit(system: TestSystem, text: string): Promise<string> {
  const result = await sendOnce(
    {
      address: "127.0.0.1",
      port: system.smtpPort,
      tls: "starttls",
      verify: false,
      servername: "localhost",
      credentials: { username: "dev", password: "dev" },
    },
    {
      mailFrom: "me@example.com",
      recipients: envelope.map((address, index) => ({ id: index + 1 as RecipientId, address, attempts: 0 })),
      eightBit: false,
      smtpUtf8: false,
    },
    new TextEncoder().encode(text),
  );
  assert.equal(result.answer?.code, 250, JSON.stringify(result));
  return /queued as ([\da-f-]{36})/.exec(result.answer?.lines.join(" ") ?? "")?.[1] ?? "";
}

Deno.test("mail that was submitted over SMTP leaves by every kind of ESP to its envelope alone", async () => {
  await withServices({ start: ["smtpServer", "queueWorker"] }, async (system) => {
    for (const [kind, open] of Object.entries(httpServices)) {
      await using service = await open();
      const config = { ...service.settings, ...service.secrets };
      await system.seed({ name: kind, "provider_type": kind, "smtp_config": config });
      const id = await submit(system, mailAbout(kind));
      const statusOf = async () =>
        (await rowsOf(system, `select status from messages where id = '${id}'`))[0]?.["status"];
      assert.ok(
        await until(async () => await statusOf() === "delivered", 60_000),
        `${kind}: ${await statusOf()}`,
      );
      const taken = service.taken();
      assert.deepEqual(taken.flatMap(({ to }) => to).toSorted(), envelope.toSorted(), kind);
      for (const { text } of taken) {
        assert.match(text, new RegExp(`Delivered by ${kind}`), kind);
        assert.doesNotMatch(text.split("\r\n\r\n")[0] ?? "", /^bcc:/im, kind);
      }
      const [row] = await rowsOf(system, `select correlation_id from messages where id = '${id}'`);
      const named = service.http.requests.map(({ headers }) => headers.get("x-correlation-id"));
      assert.ok(named.includes(String(row?.["correlation_id"])), kind);
      const states = await rowsOf(
        system,
        `select address, status from recipients where message_id = '${id}' order by position`,
      );
      assert.deepEqual(states.map(({ status }) => status), envelope.map(() => "accepted"), kind);
      const logs = await rowsOf(system, `select * from delivery_logs where message_id = '${id}'`);
      assert.equal(logs.length, 1, kind);
      assert.equal(logs[0]?.["provider"], kind);
      assert.equal(logs[0]?.["status"], "delivered");
      assert.match(String(logs[0]?.["provider_message_id"]), /^[^\s<>]+$/, kind);
    }
  });
});
