import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { RecipientId } from "../../lib/ids.ts";
import { sendOnce } from "../../lib/smtp/client.ts";
import { until } from "../../services/dev/processes.ts";
import { type AwkwardMail, awkwardMails } from "../support/awkward_mails.ts";
import { httpServices, type TakenMail } from "../support/http_services.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";

const leastMails = 42;
const unfinished = ["queued", "processing"];
/** SES takes no message without the end of its header, and none that repeats certain fields; the others take all. */
const mostRefused = 4;

/** A service of any kind, as far as this test looks at it. */
interface Service extends AsyncDisposable {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, string>>;
  taken(): readonly TakenMail[];
}

const services: Readonly<Record<string, () => Promise<Service>>> = { ...httpServices, smtp: openRelay };

/** A relay that takes everything, and tells of messages byte by byte. */
async function openRelay(): Promise<Service> {
  const sink = await SmtpSink.open();
  return {
    settings: { host: "127.0.0.1", port: sink.port, tls: "none" },
    secrets: {},
    taken: () =>
      sink.mails.map(({ to, bytes }) => ({
        to: to.map((argument) => /^<([^>]*)>/.exec(argument)?.[1] ?? argument),
        text: Buffer.from(bytes).toString("latin1"),
      })),
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  };
}

/** All after the header; a message ends with a line end on the wire. */
function bodyOf(text: string): string {
  const at = text.indexOf("\r\n\r\n");
  const body = at === -1 ? "" : text.slice(at + 4);
  return body === "" || body.endsWith("\r\n") ? body : `${body}\r\n`;
}

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
    for (const [kind, open] of Object.entries(services)) {
      await using service = await open();
      await system.seed({
        name: kind,
        "provider_type": kind,
        "smtp_config": { ...service.settings, ...service.secrets },
      });
      const ids = new Map<string, string>();
      const bodies: string[] = [];
      for (const [index, mail] of mails.entries()) {
        // What comes again with the same name is taken for the same message.
        const text = mail.bytes.toString("latin1").replaceAll(
          "<1@example.com>",
          `<${index}.${kind}@example.com>`,
        );
        const id = await submit(system, { ...mail, bytes: Buffer.from(text, "latin1") });
        // A header that cannot be read or names no single sender is turned away at once.
        if (/^[\da-f-]{36}$/.test(id)) {
          ids.set(id, mail.what);
          bodies.push(bodyOf(text));
        } else assert.match(id, /^550 /, `${kind}: ${mail.what}: ${id}`);
      }
      assert.ok(ids.size >= leastMails);
      const list = [...ids.keys()].map((id) => `'${id}'`).join();
      const statuses = () =>
        rowsOf(system, `select id, status, failure_code from messages where id in (${list})`);
      const isOver = async () =>
        (await statuses()).every(({ status }) => !unfinished.includes(String(status)));
      const ended = await until(isOver, 180_000);
      const rows = await statuses();
      const told = (status: string) =>
        rows.filter((row) => row["status"] === status).map((row) =>
          `${ids.get(String(row["id"]))} ${row["failure_code"]}`
        );
      assert.ok(ended, `${kind}: not ended are ${unfinished.flatMap(told)}`);
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
      if (kind === "smtp") {
        const arrived = service.taken().map(({ text }) => bodyOf(text));
        const changed = bodies.filter((body) => !arrived.includes(body)).map((body) => body.slice(0, 80));
        assert.deepEqual(changed, [], "a relay gets every body byte by byte");
      }
      // Nobody hears of a recipient whom the header does not name.
      assert.ok(service.taken().every(({ text }) => !text.includes("hidden@example.net")), kind);
    }
  });
});
