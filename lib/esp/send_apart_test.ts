import assert from "node:assert/strict";
import fc from "fast-check";
import type { RecipientId } from "../ids.ts";
import type { Recipient } from "../messages/message.ts";
import type { RecipientOutcome } from "./outcome.ts";
import { sendApart } from "./send_apart.ts";

function recipients(count: number): readonly Recipient[] {
  return Array.from(
    { length: count },
    (_, index) => ({ id: index + 1 as RecipientId, address: `r${index}@example.org`, attempts: 1 }),
  );
}

/** A service that refuses all for the sake of one bad address, and what it has sent. */
function service(bad: ReadonlySet<number>) {
  const sent: number[] = [];
  let requests = 0;
  const send = (some: readonly Recipient[]) => {
    requests++;
    const isRecipientFault = some.some(({ id }) => bad.has(id));
    if (!isRecipientFault) sent.push(...some.map(({ id }) => id));
    const fault = { blame: "message", code: "http_400", detail: "" } as const;
    const outcome: RecipientOutcome = isRecipientFault ? { kind: "refused", fault } : { kind: "accepted" };
    return Promise.resolve({ recipients: new Map(some.map(({ id }) => [id, outcome])), isRecipientFault });
  };
  return { sent, send, requests: () => requests };
}

Deno.test("sendApart() sends once to each good address and refuses exactly the bad ones", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 300 }),
      fc.uniqueArray(fc.nat(299), { maxLength: 2 }),
      async (count, bad) => {
        const { sent, send } = service(new Set(bad.map((at) => at + 1)));
        const report = await sendApart(recipients(count), send);
        const refused = [...report.recipients].filter(([, { kind }]) => kind === "refused").map(([id]) =>
          id as number
        );
        assert.deepEqual(
          refused.sort((a, b) => a - b),
          bad.map((at) => at + 1).filter((id) => id <= count).sort((a, b) => a - b),
        );
        assert.equal(new Set(sent).size, sent.length);
        assert.equal(sent.length + refused.length, count);
        assert.equal(report.recipients.size, count);
      },
    ),
  );
});

Deno.test("sendApart() stops after forty requests, and who is not told apart by then waits", async () => {
  const { sent, send, requests } = service(new Set(Array.from({ length: 400 }, (_, index) => 2 * index + 1)));
  const report = await sendApart(recipients(800), send);
  assert.equal(requests(), 40);
  assert.deepEqual(sent, []);
  assert.equal(report.recipients.size, 800);
  assert.ok([...report.recipients.values()].every(({ kind }) => kind === "retry" || kind === "refused"));
});

Deno.test("sendApart() asks a service no more that makes a part wait or does not answer it", async () => {
  const fault = { blame: "provider", code: "timeout", detail: "" } as const;
  const cases: readonly (readonly [RecipientOutcome, RecipientOutcome])[] = [
    [{ kind: "wait", cause: "throttled", fault, afterMs: 9 }, {
      kind: "wait",
      cause: "throttled",
      fault,
      afterMs: 9,
    }],
    [{ kind: "retry", fault }, { kind: "retry", fault }],
    [{ kind: "unknown", fault }, { kind: "retry", fault }],
  ];
  for (const [answer, ofOthers] of cases) {
    let requests = 0;
    const report = await sendApart(recipients(8), (some) => {
      const isRecipientFault = requests++ === 0;
      const outcome: RecipientOutcome = isRecipientFault
        ? { kind: "refused", fault: { ...fault, blame: "message" } }
        : answer;
      return Promise.resolve({ recipients: new Map(some.map(({ id }) => [id, outcome])), isRecipientFault });
    });
    assert.equal(requests, 2);
    assert.deepEqual([...report.recipients.values()], [
      ...Array.from({ length: 4 }, () => answer),
      ...Array.from({ length: 4 }, () => ofOthers),
    ]);
  }
});

Deno.test("sendApart() serves everybody else when one recipient has to wait for leave", async () => {
  const wait = {
    kind: "wait",
    cause: "sender",
    fault: { blame: "provider", code: "http_403", detail: "" },
  } as const;
  const { recipients: outcomes } = await sendApart(recipients(8), (some) => {
    const isRecipientFault = some.some(({ id }) => id === 3);
    const outcome: RecipientOutcome = isRecipientFault ? wait : { kind: "accepted" };
    return Promise.resolve({ recipients: new Map(some.map(({ id }) => [id, outcome])), isRecipientFault });
  });
  assert.deepEqual([...outcomes].filter(([, { kind }]) => kind !== "accepted"), [[3, wait]]);
  assert.equal(outcomes.size, 8);
});
