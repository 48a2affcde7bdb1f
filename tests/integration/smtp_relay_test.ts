import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { smtpRelay } from "../../lib/esp/smtp_relay.ts";
import { HeldClock } from "../support/held_clock.ts";
import { sinkCertificate } from "../support/sink_certificate.ts";
import { deliverInWords, inWords, openEsp, parcelOf, plainMail, streamedBody } from "../support/parcels.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import type { SinkAction, SinkStep } from "../support/smtp_sink.ts";

const callTimeoutMs = 20_000;
const auth = { username: "relay", password: "secret" };
const { signal } = new AbortController();

/** For each point of the conversation: what a 4yz, a 5yz, a lost connection and silence come to. */
const faultMatrix: Readonly<Record<string, readonly [string, string, string, string]>> = {
  connect: [
    "retry provider greeting_refused",
    "retry provider greeting_refused",
    "retry provider connection_lost",
    "retry provider timeout",
  ],
  EHLO: [
    "retry provider hello_refused",
    "retry provider hello_refused",
    "retry provider connection_lost",
    "retry provider timeout",
  ],
  STARTTLS: [
    "retry provider smtp_451",
    "wait configuration provider tls_refused",
    "retry provider connection_lost",
    "retry provider timeout",
  ],
  AUTH: [
    "retry provider smtp_451",
    "wait credentials provider auth_refused",
    "retry provider connection_lost",
    "retry provider timeout",
  ],
  MAIL: [
    "retry provider smtp_451",
    "refused message smtp_554",
    "retry provider connection_lost",
    "retry provider timeout",
  ],
  RCPT: [
    "retry message smtp_451",
    "refused message smtp_554",
    "retry provider connection_lost",
    "retry provider timeout",
  ],
  DATA: [
    "retry provider smtp_451",
    "refused message smtp_554",
    "retry provider connection_lost",
    "retry provider timeout",
  ],
  body: [
    "retry provider smtp_451",
    "refused message smtp_554",
    "retry provider connection_lost",
    "retry provider timeout",
  ],
  dot: [
    "retry provider smtp_451",
    "refused message smtp_554",
    "unknown provider answer_lost",
    "unknown provider answer_lost",
  ],
};

for (const [at, wanted] of Object.entries(faultMatrix)) {
  for (const pipelining of [true, false]) {
    Deno.test(`smtp relay: trouble at ${at} is told exactly, ${pipelining ? "with" : "without"} PIPELINING`, async () => {
      const actions: readonly SinkAction[] = [
        { reply: "451 4.3.2 not now", ...(at === "body" ? { drop: true } : {}) },
        { reply: "554 5.3.0 never", ...(at === "body" ? { drop: true } : {}) },
        { drop: true },
        { hang: true },
      ];
      // A TLS socket of the runtime's reads on although it is paused: a server that hangs there cannot be had.
      const isLarge = at === "body";
      const found: string[] = [];
      for (const action of actions) {
        // Of a call that hangs the time is over when it does hang, and no sooner.
        using clock = action.hang ? new HeldClock() : undefined;
        const reached = Promise.withResolvers<void>();
        await using sink = await SmtpSink.open({
          ...(isLarge ? {} : { tls: sinkCertificate, auth }),
          extensions: pipelining ? ["PIPELINING"] : [],
          script: (step) => {
            if (step.at !== at) return undefined;
            reached.resolve();
            return action;
          },
        });
        await using esp = openEsp(
          smtpRelay,
          { host: "127.0.0.1", port: sink.port, ...(isLarge ? { tls: "none" } : auth) },
          { callTimeoutMs },
        );
        const mail = isLarge ? largeBody() : plainMail;
        const delivering = deliverInWords(esp, parcelOf(["b@example.org", "c@example.org"], mail));
        if (clock !== undefined) {
          await reached.promise;
          await clock.pass(callTimeoutMs);
        }
        const outcomes = await delivering;
        assert.equal(outcomes[0], outcomes[1]);
        found.push(outcomes[0] ?? "");
        assert.equal(sink.mails.length, 0);
      }
      // The message's own 4yz of a system that is not accepting blames the system at RCPT too.
      const expected = at === "RCPT" ? ["retry provider smtp_451", ...wanted.slice(1)] : wanted;
      assert.deepEqual(found, expected);
    });
  }
}

Deno.test("smtp relay: each recipient gets the answer to its own RCPT", async () => {
  const answers = [
    "250 2.1.5 ok",
    "451 4.2.0 busy",
    "550 5.1.1 unknown",
    "251 2.1.5 forwarded",
    "450 4.7.1 throttled",
  ];
  for (const extensions of [["PIPELINING"], []]) {
    await using sink = await sinkByRecipient(answers, extensions);
    await using esp = relayTo(sink);
    const report = await esp.deliver(parcelOf(answers.map((_, index) => `r${index}@example.org`)), signal);
    assert.deepEqual([...report.recipients.values()].map(inWords), [
      "accepted",
      "retry message smtp_451",
      "refused message smtp_550",
      "accepted",
      "wait throttled provider smtp_450",
    ]);
    assert.match(report.providerMessageId ?? "", /^SINK1T1$/);
    assert.equal(report.answer?.code, 250);
    assert.deepEqual(sink.mails.map(({ to }) => to), [["<r0@example.org>", "<r3@example.org>"]]);
  }
});

Deno.test("smtp relay: who was refused at RCPT stays refused when the answer to the message is lost", async () => {
  await using sink = await SmtpSink.open({
    script: ({ at, argument }) =>
      at === "dot" ? { drop: true } : argument.includes("r1") ? { reply: "550 5.1.1 unknown" } : undefined,
  });
  await using esp = relayTo(sink);
  assert.deepEqual(await deliverInWords(esp, parcelOf(["r0@example.org", "r1@example.org"])), [
    "unknown provider answer_lost",
    "refused message smtp_550",
  ]);
});

Deno.test("smtp relay: a server that takes DATA although it refused everybody gets no message", async () => {
  await using sink = await SmtpSink.open({
    script: ({ at }) =>
      at === "RCPT" ? { reply: "550 5.1.1 unknown" } : at === "DATA" ? { reply: "354 go on" } : undefined,
  });
  await using esp = relayTo(sink);
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["refused message smtp_550"]);
  assert.equal(sink.mails.length, 0);
});

Deno.test("smtp relay: recipients beyond what a transaction takes follow in the next one", async () => {
  const taken = new Map<number, number>();
  await using sink = await SmtpSink.open({
    script: ({ at, transaction }: SinkStep) => {
      if (at !== "RCPT") return undefined;
      taken.set(transaction, (taken.get(transaction) ?? 0) + 1);
      return (taken.get(transaction) ?? 0) > 3 ? { reply: "452 4.5.3 too many recipients" } : undefined;
    },
  });
  await using esp = relayTo(sink);
  const addresses = Array.from({ length: 8 }, (_, index) => `r${index}@example.org`);
  assert.deepEqual(await deliverInWords(esp, parcelOf(addresses)), addresses.map(() => "accepted"));
  assert.deepEqual(sink.mails.map(({ to }) => to.length), [3, 3, 2]);
});

Deno.test("smtp relay: the outcomes are the relay's answers, whoever is refused", async () => {
  const answers: string[] = [];
  await using sink = await SmtpSink.open({
    script: ({ at, argument }) => {
      const reply = at === "RCPT" ? answers[Number(/\d+/.exec(argument)?.[0])] : undefined;
      return reply === undefined ? undefined : { reply };
    },
  });
  await using esp = relayTo(sink);
  const answer = fc.constantFrom("250 2.1.5 ok", "451 4.2.0 busy", "550 5.1.1 unknown");
  await fc.assert(
    fc.asyncProperty(fc.array(answer, { minLength: 1, maxLength: 30 }), async (given) => {
      answers.splice(0, answers.length, ...given);
      const before = sink.mails.length;
      const outcomes = await deliverInWords(esp, parcelOf(given.map((_, index) => `r${index}@example.org`)));
      const wanted = given.map((reply) =>
        reply.startsWith("2")
          ? "accepted"
          : reply.startsWith("4")
          ? "retry message smtp_451"
          : "refused message smtp_550"
      );
      assert.deepEqual(outcomes, wanted);
      const reached = sink.mails.slice(before).flatMap(({ to }) => to);
      const accepted = wanted.flatMap((outcome, index) =>
        outcome === "accepted" ? [`<r${index}@example.org>`] : []
      );
      assert.deepEqual(reached, accepted);
    }),
    { numRuns: 40 },
  );
});

Deno.test("smtp relay: ending a call is no fault before the dot and unknown after it", async () => {
  for (
    const [at, wanted] of [["MAIL", "wait unavailable message aborted"], [
      "dot",
      "unknown provider answer_lost",
    ]]
  ) {
    const reached = Promise.withResolvers<void>();
    await using sink = await SmtpSink.open({
      script: (step) => {
        if (step.at !== at) return undefined;
        reached.resolve();
        return { hang: true };
      },
    });
    await using esp = relayTo(sink);
    const controller = new AbortController();
    const outcomes = deliverInWords(esp, parcelOf(["b@example.org"]), controller.signal);
    await reached.promise;
    controller.abort();
    assert.deepEqual(await outcomes, [wanted]);
  }
});

Deno.test("smtp relay: the answer to the message may come after the call's time, and it counts", async () => {
  for (const mail of [plainMail, largeBody()]) {
    using clock = new HeldClock();
    const reached = Promise.withResolvers<void>();
    await using sink = await SmtpSink.open({
      script: ({ at }) => {
        if (at !== "dot") return undefined;
        reached.resolve();
        return { delayMs: callTimeoutMs + 1000 };
      },
    });
    const settings = { host: "127.0.0.1", port: sink.port, tls: "none" };
    await using esp = openEsp(smtpRelay, settings, { callTimeoutMs, answerTimeoutMs: 60_000 });
    const delivering = deliverInWords(esp, parcelOf(["b@example.org"], mail));
    await reached.promise;
    await clock.pass(callTimeoutMs + 1000);
    assert.deepEqual(await delivering, ["accepted"]);
    assert.equal(sink.mails.length, 1);
  }
});

Deno.test("smtp relay: a body that breaks off leaves nothing behind", async () => {
  await using sink = await SmtpSink.open();
  await using esp = relayTo(sink);
  const whole = largeBody();
  let pieces = 0;
  const broken = {
    ...whole,
    stream: () =>
      whole.stream().pipeThrough(
        new TransformStream<Uint8Array, Uint8Array>({
          transform(piece, controller) {
            if (++pieces > 20) throw new Error("The disk is gone");
            controller.enqueue(piece);
          },
        }),
      ),
  };
  const outcomes = await deliverInWords(esp, parcelOf(["b@example.org"], broken));
  assert.deepEqual(outcomes, ["wait unavailable message body_unreadable"]);
  assert.equal(sink.mails.length, 0);
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
});

function largeBody() {
  return streamedBody(Buffer.alloc(16 * 1024 * 1024, `Subject: large\r\n\r\n${"x".repeat(70)}\r\n`));
}

function relayTo(sink: SmtpSink) {
  return openEsp(smtpRelay, { host: "127.0.0.1", port: sink.port, tls: "none" });
}

function sinkByRecipient(answers: readonly string[], extensions: readonly string[]): Promise<SmtpSink> {
  return SmtpSink.open({
    extensions,
    script: ({ at, argument }) => {
      const reply = at === "RCPT" ? answers[Number(/\d+/.exec(argument)?.[0])] : undefined;
      return reply === undefined ? undefined : { reply };
    },
  });
}
