import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { smtpRelay } from "../../lib/esp/smtp_relay.ts";
import { AddressNotAllowed } from "../../lib/network/guard.ts";
import { HeldClock } from "../support/held_clock.ts";
import { sinkCertificate } from "../support/sink_certificate.ts";
import { deliverInWords, openEsp, parcelOf, plainMail, streamedBody } from "../support/parcels.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import type { SinkOptions } from "../support/smtp_sink.ts";

const { signal } = new AbortController();
const ca = sinkCertificate.cert;

Deno.test("smtp relay: every message arrives byte for byte, whatever its lines hold", async () => {
  await using sink = await SmtpSink.open();
  await using esp = relayTo(sink);
  const line = fc.oneof(fc.stringMatching(/^\.{0,3}[a-z.]{0,5}$/), fc.constant("."), fc.constant(""));
  const ending = fc.constantFrom("\r\n", "");
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 20 }), ending, async (lines, end) => {
      const mail = `Subject: x\r\n\r\n${lines.join("\r\n")}${end}`;
      assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], mail)), ["accepted"]);
      const { bytes } = sink.mails.at(-1) ?? { bytes: new Uint8Array() };
      assert.equal(Buffer.from(bytes).toString("latin1"), mail.endsWith("\r\n") ? mail : `${mail}\r\n`);
    }),
    { numRuns: 50 },
  );
});

Deno.test("smtp relay: a large body arrives byte for byte, over TLS too", async () => {
  const filler = crypto.getRandomValues(new Uint8Array(60_000)).map((byte) =>
    byte === 10 || byte === 13 ? 46 : byte
  );
  const block = Buffer.concat([Buffer.from(filler), Buffer.from("\r\n.\r\n..x\r\n")]);
  const mail = Buffer.concat([
    Buffer.from("Bcc: x@y\r\nSubject: x\r\n\r\n"),
    ...new Array<Buffer>(60).fill(block),
  ]);
  for (const settings of [{ tls: "none" }, { tls: "starttls" }]) {
    await using sink = await SmtpSink.open({ tls: sinkCertificate });
    await using esp = relayTo(sink, settings);
    const outcomes = await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(mail)));
    assert.deepEqual(outcomes, ["accepted"]);
    const wanted = mail.subarray("Bcc: x@y\r\n".length);
    assert.ok(wanted.equals(Buffer.from(sink.mails[0]?.bytes ?? [])));
    assert.match(sink.mails[0]?.from ?? "", new RegExp(` SIZE=${wanted.length} BODY=8BITMIME$`));
  }
});

Deno.test("smtp relay: a line ending that is none is refused before anything is sent", async () => {
  await using sink = await SmtpSink.open();
  await using esp = relayTo(sink);
  const smuggled = "Subject: x\r\n\r\ntext\n.\r\nMAIL FROM:<x@y>\r\n";
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], smuggled)), [
    "refused message bare_line_ending",
  ]);
  assert.equal(sink.connections, 0);
  const large = streamedBody(Buffer.from(`Subject: x\r\n\r\n${"text\r\n".repeat(100_000)}\n.\r\n`));
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], large)), [
    "refused message bare_line_ending",
  ]);
  assert.equal(sink.mails.length, 0);
});

Deno.test("smtp relay: a call whose time is over hands no message over any more", async () => {
  const callTimeoutMs = 20_000;
  using clock = new HeldClock();
  await using sink = await SmtpSink.open();
  const settings = { host: "127.0.0.1", port: sink.port, tls: "none" };
  await using esp = openEsp(smtpRelay, settings, { callTimeoutMs });
  const large = streamedBody(Buffer.from(`Subject: x\r\n\r\n${"text\r\n".repeat(100_000)}`));
  let isOver = false;
  // As after a process that stood still, or with a store that has hung: the relay waits, and the bytes come late.
  const late = {
    ...large,
    stream: () =>
      large.stream().pipeThrough(
        new TransformStream<Uint8Array, Uint8Array>({
          async transform(chunk, controller) {
            if (!isOver && sink.steps.some(({ at }) => at === "DATA")) {
              isOver = true;
              await clock.pass(callTimeoutMs);
            }
            controller.enqueue(chunk);
          },
        }),
      ),
  };
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], late)), ["retry provider timeout"]);
  assert.equal(isOver, true);
  assert.equal(sink.mails.length, 0);
});

Deno.test("smtp relay: strip_dkim removes signatures, otherwise they stay", async () => {
  await using sink = await SmtpSink.open();
  for (const isStripped of [false, true]) {
    await using esp = relayTo(sink, { strip_dkim: isStripped });
    await esp.deliver(parcelOf(["b@example.org"], `DKIM-Signature: v=1;\r\n b=xyz\r\n${plainMail}`), signal);
    const text = Buffer.from(sink.mails.at(-1)?.bytes ?? []).toString();
    assert.equal(text.includes("DKIM"), !isStripped);
    assert.ok(text.endsWith(plainMail));
  }
});

Deno.test("smtp relay: DSN parameters go on where the relay offers DSN, and nowhere else", async () => {
  const dsn = { dsnReturn: "HDRS", envelopeId: "QQ+3D1", mailFrom: "" } as const;
  for (const extensions of [["PIPELINING", "DSN"], ["PIPELINING"]]) {
    await using sink = await SmtpSink.open({ extensions });
    await using esp = relayTo(sink);
    const parcel = parcelOf(["b@example.org", "c@example.org"], plainMail, dsn);
    const [first, second] = parcel.recipients;
    assert.ok(first && second);
    const recipients = [
      { ...first, notify: "SUCCESS,FAILURE", originalRecipient: "rfc822;b@old.example" },
      second,
    ];
    await esp.deliver({ ...parcel, recipients }, signal);
    const isOffered = extensions.includes("DSN");
    assert.equal(sink.mails[0]?.from, isOffered ? "<> RET=HDRS ENVID=QQ+3D1" : "<>");
    assert.deepEqual(sink.mails[0]?.to, [
      isOffered ? "<b@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@old.example" : "<b@example.org>",
      "<c@example.org>",
    ]);
  }
});

Deno.test("smtp relay: what the relay cannot take is refused with the reason", async () => {
  await using sink = await SmtpSink.open({ extensions: ["SIZE 200"] });
  await using esp = relayTo(sink);
  const large = await esp.deliver(parcelOf(["b@example.org"], plainMail + "x".repeat(200)), signal);
  const [outcome] = large.recipients.values();
  assert.ok(outcome?.kind === "refused");
  assert.match(outcome.fault.detail, /takes 200 bytes: the message has 276/);
  const mixed = parcelOf(["grün@example.org", "b@grün.example", "c@example.org", "d@x>y.example"]);
  assert.deepEqual(await deliverInWords(esp, mixed), [
    "refused message smtputf8_unsupported",
    "accepted",
    "accepted",
    "refused message address_invalid",
  ]);
  assert.deepEqual(sink.mails[0]?.to, ["<b@xn--grn-ioa.example>", "<c@example.org>"]);
  const utf8 = parcelOf(["b@example.org"], "Subject: Grüße\r\n\r\n", { smtpUtf8: true });
  assert.deepEqual(await deliverInWords(esp, utf8), ["refused message smtputf8_unsupported"]);
  const eightBit = parcelOf(["b@example.org"], "Subject: x\r\n\r\nGrüße\r\n", { eightBit: true });
  assert.deepEqual(await deliverInWords(esp, eightBit), ["refused message eightbit_unsupported"]);
  const onlyDeclared = parcelOf(["b@example.org"], plainMail, { eightBit: true, smtpUtf8: true });
  assert.deepEqual(await deliverInWords(esp, onlyDeclared), ["accepted"]);
});

Deno.test("smtp relay: bytes above 127 are declared although the client did not say so", async () => {
  await using sink = await SmtpSink.open({ extensions: ["8BITMIME"] });
  await using esp = relayTo(sink);
  for (const text of ["Grüße", "plain"]) {
    await esp.deliver(parcelOf(["b@example.org"], `Subject: x\r\n\r\n${text}\r\n`), signal);
  }
  assert.deepEqual(sink.mails.map(({ from }) => from), [
    "<a@example.com> BODY=8BITMIME",
    "<a@example.com>",
  ]);
});

Deno.test("smtp relay: SMTPUTF8 and 8BITMIME are asked for when the message needs them", async () => {
  await using sink = await SmtpSink.open({ extensions: ["SMTPUTF8", "8BITMIME"] });
  await using esp = relayTo(sink);
  await esp.deliver(parcelOf(["grün@example.org"], plainMail, { smtpUtf8: true, eightBit: true }), signal);
  await esp.deliver(parcelOf(["b@example.org"], "Subject: Grüße\r\n\r\n", { smtpUtf8: true }), signal);
  await esp.deliver(parcelOf(["b@example.org"], plainMail, { smtpUtf8: true }), signal);
  assert.deepEqual(sink.mails.map(({ from }) => from), [
    "<a@example.com> BODY=8BITMIME SMTPUTF8",
    "<a@example.com> BODY=8BITMIME SMTPUTF8",
    "<a@example.com>",
  ]);
  assert.deepEqual(sink.mails[0]?.to, ["<grün@example.org>"]);
});

interface TlsCase {
  readonly sink: SinkOptions;
  readonly settings: Record<string, unknown>;
  readonly wanted: string;
  readonly isSecure?: boolean;
}

const offered = { tls: sinkCertificate };
const implicit = { tls: { ...sinkCertificate, isImplicit: true } };
const tlsCases: Readonly<Record<string, TlsCase>> = {
  "starttls with a trusted certificate": {
    sink: offered,
    settings: { tls: "starttls", ca, tls_verify: true },
    wanted: "accepted",
    isSecure: true,
  },
  "starttls by name": {
    sink: offered,
    settings: { host: "localhost", ca },
    wanted: "accepted",
    isSecure: true,
  },
  "starttls with an unknown certificate on loopback": {
    sink: offered,
    settings: {},
    wanted: "accepted",
    isSecure: true,
  },
  "starttls with an unknown certificate": {
    sink: offered,
    settings: { tls_verify: true },
    wanted: "wait configuration provider certificate_invalid",
  },
  "starttls with another name's certificate": {
    sink: offered,
    settings: { host: "relay.example", ca },
    wanted: "wait configuration provider certificate_invalid",
  },
  "starttls with trust in what is no certificate": {
    sink: offered,
    settings: { ca: "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n" },
    wanted: "wait configuration provider certificate_invalid",
  },
  "starttls where none is offered": {
    sink: {},
    settings: {},
    wanted: "wait configuration provider tls_unavailable",
  },
  "implicit": { sink: implicit, settings: { tls: "implicit", ca }, wanted: "accepted", isSecure: true },
  "implicit with another name's certificate": {
    sink: implicit,
    settings: { tls: "implicit", host: "relay.example", ca },
    wanted: "wait configuration provider certificate_invalid",
  },
  "implicit where plain is spoken": {
    sink: {},
    settings: { tls: "implicit" },
    wanted: "retry provider tls_failed",
  },
  "opportunistic where offered": {
    sink: offered,
    settings: { tls: "opportunistic" },
    wanted: "accepted",
    isSecure: true,
  },
  "opportunistic where none is offered": {
    sink: {},
    settings: { tls: "opportunistic" },
    wanted: "accepted",
    isSecure: false,
  },
  "opportunistic with a password where none is offered": {
    sink: { auth: { username: "u", password: "p" } },
    settings: { tls: "opportunistic", username: "u", password: "p" },
    wanted: "wait configuration provider tls_unavailable",
  },
  "none where STARTTLS is offered": {
    sink: offered,
    settings: { tls: "none" },
    wanted: "accepted",
    isSecure: false,
  },
  "an answer slipped in before TLS": {
    sink: {
      ...offered,
      script: ({ at }) => at === "STARTTLS" ? { reply: "220 go\r\n250 slipped in" } : undefined,
    },
    settings: {},
    wanted: "retry provider protocol_error",
  },
};

for (const [name, { sink: options, settings, wanted, isSecure }] of Object.entries(tlsCases)) {
  Deno.test(`smtp relay: TLS ${name}`, async () => {
    await using sink = await SmtpSink.open(options);
    await using esp = relayTo(sink, { tls: "starttls", ...settings });
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), [wanted]);
    assert.deepEqual(sink.mails.map((mail) => mail.isSecure), isSecure === undefined ? [] : [isSecure]);
    assert.ok(sink.steps.every(({ at }) => at !== "AUTH"));
  });
}

Deno.test("smtp relay: a client steers the account behind the relay only where settings let it", async () => {
  await using sink = await SmtpSink.open();
  const control = "X-SES-CONFIGURATION-SET: other\r\nX-SMTPAPI: {}\r\nx-mailgun-drop-message: yes\r\n";
  for (const isPassed of [false, true]) {
    await using esp = relayTo(sink, { "pass_control_headers": isPassed });
    await esp.deliver(parcelOf(["b@example.org"], control + plainMail), signal);
    const text = Buffer.from(sink.mails.at(-1)?.bytes ?? []).toString();
    assert.equal(text, (isPassed ? control : "") + plainMail);
  }
});

Deno.test("smtp relay: logs in by PLAIN or LOGIN, and check() proves it without mail", async () => {
  const right = { username: "relay", password: "sécret" };
  for (const mechanisms of ["PLAIN LOGIN", "LOGIN", "XOAUTH2"]) {
    await using sink = await SmtpSink.open({ auth: { ...right, mechanisms } });
    await using esp = relayTo(sink, right);
    const isPossible = mechanisms !== "XOAUTH2";
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), [
      isPossible ? "accepted" : "wait configuration provider auth_unavailable",
    ]);
    assert.deepEqual(
      (await esp.check(signal)).faults.map(({ code }) => code),
      isPossible ? [] : ["auth_unavailable"],
    );
    assert.deepEqual(sink.mails.map(({ user }) => user), isPossible ? ["relay"] : []);
    await using wrong = relayTo(sink, { ...right, password: "other" });
    const { faults: [fault] } = await wrong.check(signal);
    assert.equal(fault?.code, isPossible ? "auth_refused" : "auth_unavailable");
    assert.ok(!fault?.detail.includes("other"));
  }
});

Deno.test("smtp relay: a password that the relay repeats is kept out of the fault", async () => {
  await using sink = await SmtpSink.open({
    auth: { username: "relay", password: "right" },
    script: ({ at, argument }) =>
      at === "AUTH" ? { reply: `535 5.7.8 no: hush-hush or ${btoa("hush-hush")} or ${argument}` } : undefined,
  });
  await using esp = relayTo(sink, { username: "relay", password: "hush-hush" });
  const { faults: [fault] } = await esp.check(signal);
  assert.equal(fault?.code, "auth_refused");
  assert.ok(!fault?.detail.includes("hush-hush"));
  for (const secret of [btoa("hush-hush"), btoa("\0relay\0hush-hush")]) {
    assert.ok(!fault?.detail.includes(secret));
  }
});

Deno.test("smtp relay: calls only where the guard allows, and says what is wrong when it does not", async () => {
  await using sink = await SmtpSink.open();
  const settings = { host: "relay.example", port: sink.port, tls: "none" };
  const asked: string[] = [];
  await using esp = openEsp(smtpRelay, { ...settings, endpoint: `inner.example:${sink.port}` }, {
    guard: (host, port) => {
      asked.push(`${host}:${port}`);
      return Promise.resolve({ address: "127.0.0.1", servername: host });
    },
  });
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
  assert.deepEqual(asked, [`inner.example:${sink.port}`]);
  const errors = [new AddressNotAllowed("Cannot call relay.example"), new Error("ENOTFOUND")];
  const found: string[] = [];
  for (const error of errors) {
    await using stopped = openEsp(smtpRelay, settings, { guard: () => Promise.reject(error) });
    found.push(...await deliverInWords(stopped, parcelOf(["b@example.org"])));
  }
  assert.deepEqual(found, ["wait configuration provider address_not_allowed", "retry provider dns_failed"]);
  await using slow = openEsp(smtpRelay, settings, { guard: () => new Promise(() => {}), callTimeoutMs: 50 });
  assert.deepEqual(await deliverInWords(slow, parcelOf(["b@example.org"])), ["retry provider dns_failed"]);
});

Deno.test("smtp relay: EHLO says the name that is set, else the address of the connection", async () => {
  await using sink = await SmtpSink.open();
  for (const settings of [{ name: "mail.example.com" }, {}]) {
    await using esp = relayTo(sink, settings);
    await esp.check(signal);
  }
  const names = sink.steps.filter(({ at }) => at === "EHLO").map(({ argument }) => argument);
  assert.deepEqual(names, ["mail.example.com", "[127.0.0.1]"]);
});

Deno.test("smtp relay: settings refuse what is unknown, half a login and a wrong port", () => {
  const parse = (settings: Record<string, unknown>) =>
    smtpRelay.settings.safeParse({ host: "h", ...settings }).success;
  assert.equal(parse({}), true);
  assert.equal(parse({ port: 2526, tls: "none", unknown: "hold", webhook: {} }), true);
  for (
    const wrong of [{ api_key: "x" }, { username: "u" }, { password: "p" }, { port: 0 }, { tls: "ssl" }, {
      host: "",
    }]
  ) {
    assert.equal(parse(wrong), false, JSON.stringify(wrong));
  }
  assert.deepEqual(smtpRelay.secretKeys, ["webhook", "password"]);
});

function relayTo(sink: SmtpSink, settings: Record<string, unknown> = {}) {
  return openEsp(smtpRelay, { host: "127.0.0.1", port: sink.port, tls: "none", ...settings });
}
