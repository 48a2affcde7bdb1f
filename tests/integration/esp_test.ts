import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { espKinds, findKind } from "../../lib/esp/catalog.ts";
import { smtpRelay } from "../../lib/esp/smtp_relay.ts";
import { stdout } from "../../lib/esp/stdout.ts";
import { espContract, remoteEspContract } from "../contracts/esp_contract.ts";
import { openEsp, parcelOf } from "../support/parcels.ts";
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
