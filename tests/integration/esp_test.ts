import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { espKinds, findKind } from "../../lib/esp/catalog.ts";
import { file } from "../../lib/esp/file.ts";
import { simulator } from "../../lib/esp/simulator.ts";
import { smtpRelay } from "../../lib/esp/smtp_relay.ts";
import { stdout } from "../../lib/esp/stdout.ts";
import { espContract, remoteEspContract } from "../contracts/esp_contract.ts";
import { inWords, openEsp, parcelOf } from "../support/parcels.ts";
import { SmtpSink } from "../support/smtp_sink.ts";

remoteEspContract("smtp", async () => {
  let isBroken = false;
  const sink = await SmtpSink.open({ script: () => isBroken ? { drop: true } : undefined });
  return {
    open: (changes) => openEsp(smtpRelay, { host: "127.0.0.1", port: sink.port, tls: "none" }, changes),
    received: () => sink.mails.map(({ bytes }) => Buffer.from(bytes).toString()).join(""),
    breakDown: () => isBroken = true,
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  };
});

espContract("stdout", () => {
  let printed = "";
  return Promise.resolve({
    open: (changes) => openEsp(stdout, {}, { print: (text) => printed += text, ...changes }),
    received: () => printed,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
});

espContract("file", async () => {
  const mailFolder = await Deno.makeTempDir({ prefix: "smtp_proxy_mail_" });
  return {
    open: (changes) => openEsp(file, { folder: "out" }, { mailFolder, ...changes }),
    received: () => mailsIn(`${mailFolder}/out`).join(""),
    [Symbol.asyncDispose]: () => Deno.remove(mailFolder, { recursive: true }),
  };
});

espContract("simulator", () =>
  Promise.resolve({
    open: (changes) => openEsp(simulator, {}, changes),
    received: () => "",
    showsContent: false,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }));

/** What the files of a folder hold; nothing when there is no folder. */
function mailsIn(folder: string, ending = ".eml"): readonly string[] {
  try {
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) =>
      name.endsWith(ending)
    );
    return names.map((name) => Deno.readTextFileSync(`${folder}/${name}`));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

Deno.test("file writes what a recipient would get, and the envelope beside it", async () => {
  const mailFolder = await Deno.makeTempDir({ prefix: "smtp_proxy_mail_" });
  try {
    await using esp = openEsp(file, { folder: "out", strip_dkim: true }, { mailFolder });
    const mail = "Bcc: x@example.net\r\nDKIM-Signature: v=1;\r\n a=b\r\nSubject: Hi\r\n\r\n\xe9\r\n.\r\n";
    const parcel = parcelOf(["b@example.org", "blind@example.org"], mail);
    await esp.deliver(parcel, new AbortController().signal);
    assert.deepEqual(mailsIn(`${mailFolder}/out`), ["Subject: Hi\r\n\r\n\xe9\r\n.\r\n"]);
    const [envelope, ...more] = mailsIn(`${mailFolder}/out`, ".json").map((text) => JSON.parse(text));
    assert.deepEqual(more, []);
    assert.deepEqual(envelope.recipients, ["b@example.org", "blind@example.org"]);
    assert.equal(envelope.message, parcel.message.id);
  } finally {
    await Deno.remove(mailFolder, { recursive: true });
  }
});

Deno.test("file is not opened where mail may not be written to files, and stays below its folder", () => {
  assert.throws(() => openEsp(file, {}), /esp.allow_file is false$/);
  for (const folder of ["..", "a/b", "/tmp", ""]) {
    assert.throws(() => file.settings.parse({ folder }), { name: "ZodError" });
  }
});

Deno.test("simulator answers by the recipient's local part and is the same at every try", async () => {
  await using esp = openEsp(simulator, {}, { callTimeoutMs: 1 });
  const expected = {
    "anybody@example.org": "accepted",
    "bounced@example.org": "accepted",
    "constructor@example.org": "accepted",
    "bounce@example.org": "refused message simulated_bounce",
    "Bounce+why@example.org": "refused message simulated_bounce",
    "defer@example.org": "retry message simulated_defer",
    "defer+1@example.org": "accepted",
    "defer+2@example.org": "retry message simulated_defer",
    "down@example.org": "retry provider simulated_down",
    "timeout@example.org": "retry provider simulated_timeout",
    "throttle+60@example.org": "wait throttled provider simulated_throttle",
    "credentials@example.org": "wait credentials provider simulated_credentials",
    "configuration@example.org": "wait configuration provider simulated_configuration",
    "unknown@example.org": "unknown provider simulated_unknown",
  };
  const parcel = parcelOf(Object.keys(expected));
  const { signal } = new AbortController();
  for (let round = 0; round < 2; round++) {
    const report = await esp.deliver(parcel, signal);
    assert.deepEqual(
      parcel.recipients.map(({ id }) => inWords(report.recipients.get(id))),
      Object.values(expected),
    );
    const throttled = report.recipients.get(
      parcel.recipients[10]?.id ?? parcel.recipients[0]?.id ?? 0 as never,
    );
    assert.equal(throttled?.kind === "wait" && throttled.afterMs, 60_000);
  }
});

Deno.test("stdout prints headers and sizes, the text only where it is allowed", async () => {
  for (const showText of [false, true]) {
    let printed = "";
    await using esp = openEsp(stdout, {}, { showText, print: (text) => printed += text });
    const mail = "Subject: Hi\r\nX-Bad: \x1b[2J\r\n\r\nThe text\r\n";
    await esp.deliver(parcelOf(["b@example.org"], mail), new AbortController().signal);
    assert.match(
      printed,
      new RegExp(`${mail.length} bytes\\n.*<a@example.com> to <b@example.org>\\nSubject: Hi\\n`),
    );
    assert.equal(printed.includes("The text"), showText);
    assert.doesNotMatch(printed, /[^\P{Cc}\n]/u);
  }
});

Deno.test("findKind() knows every kind by its name", () => {
  for (const kind of espKinds) assert.equal(findKind(kind.name), kind);
  assert.equal(findKind("pigeon"), undefined);
});
