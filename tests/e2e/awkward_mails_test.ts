import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { RecipientId } from "../../lib/ids.ts";
import { sendOnce } from "../../lib/smtp/client.ts";
import { until } from "../../services/dev/processes.ts";
import { type AwkwardMail, awkwardMails } from "../support/awkward_mails.ts";
import { httpServices } from "../support/http_services.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";

const leastMails = 42;
/** SES takes no message without the end of its header, and none that repeats certain fields; the others take all. */
const mostRefused = 4;

/** Submits a message as its client would; answers what it is called, or the reply that refused it. */
async function submit(system: TestSystem, { to, bytes }: AwkwardMail): Promise<string> {
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
      mailFrom: "a@example.com",
      recipients: to.map((address, index) => ({ id: index + 1 as RecipientId, address, attempts: 0 })),
      eightBit: bytes.some((byte) => byte > 127),
      smtpUtf8: false,
    },
    bytes,
  );
  assert.ok(result.answer, JSON.stringify(result));
  const text = result.answer.lines.join(" ");
  return /queued as ([\da-f-]{36})/.exec(text)?.[1] ?? `${result.answer.code} ${text}`;
}

Deno.test("awkward messages that were submitted over SMTP come to a defined end by every kind of ESP", async () => {
  const mails = awkwardMails();
  await withServices({ start: ["smtpServer", "queueWorker"] }, async (system) => {
    for (const [kind, open] of Object.entries(httpServices)) {
      await using service = await open();
      await system.seed({
        name: kind,
        "provider_type": kind,
        "smtp_config": { ...service.settings, ...service.secrets },
      });
      const ids = new Map<string, string>();
      for (const [index, mail] of mails.entries()) {
        // What comes again with the same name is taken for the same message.
        const text = mail.bytes.toString("latin1").replaceAll(
          "<1@example.com>",
          `<${index}.${kind}@example.com>`,
        );
        const id = await submit(system, { ...mail, bytes: Buffer.from(text, "latin1") });
        // A header that cannot be read or names no single sender is turned away at once.
        if (/^[\da-f-]{36}$/.test(id)) ids.set(id, mail.what);
        else assert.match(id, /^550 /, `${kind}: ${mail.what}: ${id}`);
      }
      assert.ok(ids.size >= leastMails);
      const list = [...ids.keys()].map((id) => `'${id}'`).join();
      const statuses = () =>
        rowsOf(system, `select id, status, failure_code from messages where id in (${list})`);
      const isOver = async () => (await statuses()).every(({ status }) => status !== "queued");
      const ended = await until(isOver, 60_000);
      const rows = await statuses();
      const told = (status: string) =>
        rows.filter((row) => row["status"] === status).map((row) =>
          `${ids.get(String(row["id"]))} ${row["failure_code"]}`
        );
      assert.ok(ended, `${kind}: still queued are ${told("queued")}`);
      const failed = told("failed");
      assert.ok(failed.length <= (kind === "ses" ? mostRefused : 0), `${kind}: ${failed}`);
      assert.equal(told("delivered").length + failed.length, ids.size, kind);
      assert.ok(failed.every((line) => line.endsWith(" refused")), `${kind}: ${failed}`);
      const sent = service.taken().flatMap(({ to }) => to);
      for (const address of new Set(mails.flatMap(({ to }) => to))) {
        const count = sent.filter((one) => one === address).length;
        assert.equal(count, told("delivered").length, `${kind}: ${address}`);
      }
      assert.equal(sent.length, 2 * told("delivered").length, kind);
      // Nobody hears of a recipient whom the header does not name.
      assert.ok(service.taken().every(({ text }) => !text.includes("hidden@example.net")), kind);
    }
  });
});
