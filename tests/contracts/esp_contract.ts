import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import type { Esp, EspIo } from "../../lib/esp/esp.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { inWords, parcelOf, plainMail, streamedBody } from "../support/parcels.ts";

/** An ESP beside a working service of its kind. */
export interface EspUnderTest extends AsyncDisposable {
  open(changes?: Partial<EspIo>): Esp;
  /** All that the service was given so far, as text: decoded where it was encoded. */
  received(): string;
  /** False for an ESP that keeps nothing of a mail. */
  readonly showsContent?: boolean;
}

/** An ESP with a service that can be made to fail. */
export interface RemoteEspUnderTest extends EspUnderTest {
  /** Every connection to the service breaks from when what it answers is settled. */
  breakDown(): unknown;
}

const mailHeader = "From: a@example.com\r\nTo: b@example.org\r\nSubject: large\r\n";

/** What the rest of the house relies on from every ESP; `start` makes a fresh one for each test. */
export function espContract(name: string, start: () => Promise<EspUnderTest>): void {
  const test = (promise: string, work: (esp: Esp, under: EspUnderTest) => Promise<void>) =>
    Deno.test(`${name}: ${promise}`, async () => {
      await using under = await start();
      await using esp = under.open();
      await work(esp, under);
    });
  const { signal } = new AbortController();

  test("deliver() answers every recipient of the parcel and no other", async (esp) => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: Math.min(100, esp.limits.recipients) }), async (count) => {
        const parcel = parcelOf(Array.from({ length: count }, (_, index) => `r${index}@example.org`));
        const report = await esp.deliver(parcel, signal);
        assert.deepEqual(
          [...report.recipients.keys()].sort((a, b) => a - b),
          parcel.recipients.map(({ id }) => id),
        );
        for (const outcome of report.recipients.values()) assert.equal(inWords(outcome), "accepted");
        assert.ok(report.providerMessageId);
      }),
      { numRuns: 10 },
    );
  });

  test("deliver() serves many parcels at a time", async (esp) => {
    const reports = await Promise.all(
      Array.from({ length: 50 }, (_, index) => esp.deliver(parcelOf([`r${index}@example.org`]), signal)),
    );
    for (const report of reports) {
      assert.deepEqual([...report.recipients.values()].map(inWords), ["accepted"]);
    }
  });

  test("deliver() takes a large body, as a stream unless it names the memory it needs", async (esp) => {
    const mail = Buffer.from(`${mailHeader}\r\n${".a line of text\r\n".repeat(200_000)}`);
    const body = esp.memoryPerByte === undefined ? streamedBody(mail) : memoryBody(mail);
    const report = await esp.deliver(parcelOf(["b@example.org"], body), signal);
    assert.deepEqual([...report.recipients.values()].map(inWords), ["accepted"]);
  });

  test("deliver() shows nobody the Bcc field", async (esp, under) => {
    const mail =
      `Bcc: secret-one@example.net,\r\n secret-two@example.net\r\nbCC:secret-three@example.net\r\n${plainMail}`;
    const report = await esp.deliver(parcelOf(["b@example.org"], mail), signal);
    assert.deepEqual([...report.recipients.values()].map(inWords), ["accepted"]);
    if (under.showsContent !== false) assert.match(under.received(), /Hello/);
    assert.doesNotMatch(under.received(), /secret/);
  });

  test("deliver() sends nothing and spends nothing when it was ended before it began", async (esp, under) => {
    const report = await esp.deliver(parcelOf(["b@example.org", "c@example.org"]), AbortSignal.abort());
    assert.deepEqual([...report.recipients.values()].map((outcome) => outcome.kind), ["wait", "wait"]);
    assert.doesNotMatch(under.received(), /Hello/);
  });

  test("deliver() sends nothing and spends nothing when the body cannot be read", async (esp, under) => {
    const broken = {
      ...streamedBody(Buffer.from(`Subject: Hello\r\n\r\n${"text\r\n".repeat(100_000)}`)),
      stream: () =>
        new ReadableStream<Uint8Array>({ pull: () => Promise.reject(new Error("The disk is gone")) }),
    };
    const report = await esp.deliver(parcelOf(["b@example.org"], broken), signal);
    assert.deepEqual([...report.recipients.values()].map(inWords), [
      "wait unavailable message body_unreadable",
    ]);
    assert.doesNotMatch(under.received(), /Hello/);
  });

  test("check() finds no fault with a service that works", async (esp, under) => {
    assert.deepEqual((await esp.check(signal)).faults, []);
    assert.doesNotMatch(under.received(), /Hello/);
  });

  test("limits are positive", (esp) => {
    const { recipients, bytes, parallel = 1 } = esp.limits;
    for (const limit of [recipients, bytes, parallel]) assert.ok(Number.isSafeInteger(limit) && limit > 0);
    assert.ok((esp.memoryPerByte ?? 1) >= 1);
    return Promise.resolve();
  });
}

/** What is asked besides of an ESP that calls a service. */
export function remoteEspContract(name: string, start: () => Promise<RemoteEspUnderTest>): void {
  espContract(name, start);

  Deno.test(`${name}: deliver() and check() report a service that is down, they do not throw`, async () => {
    await using under = await start();
    await using esp = under.open();
    await under.breakDown();
    const { signal } = new AbortController();
    const report = await esp.deliver(parcelOf(["b@example.org", "c@example.org"]), signal);
    assert.deepEqual([...report.recipients.values()].map((outcome) => outcome.kind), ["retry", "retry"]);
    assert.equal((await esp.check(signal)).faults.length, 1);
  });
}
