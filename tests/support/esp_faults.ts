import assert from "node:assert/strict";
import type { Esp, EspIo } from "../../lib/esp/esp.ts";
import type { FaultyHttp, HttpFault } from "./faulty_http.ts";
import { HeldTime } from "./held_time.ts";
import { inWords, parcelOf } from "./parcels.ts";

/** What goes wrong, what becomes of the recipient, whether the mail was sent, and the seconds to wait that are named. */
export type FaultRow = readonly [HttpFault, string, ("sent" | "not sent")?, number?];

/** What becomes of a connection or its protocol, the same for every service. */
export const networkFaults: readonly FaultRow[] = [
  [{ answered: "reset", bytes: 5 }, "unknown provider connection_lost", "sent"],
  [{ answered: "close", bytes: 0 }, "unknown provider connection_lost", "sent"],
  [{ read: "reset", served: true }, "unknown provider connection_lost", "sent"],
  [{ read: "reset" }, "unknown provider connection_lost"],
  [{ read: "close", served: true }, "unknown provider connection_lost", "sent"],
  [{ read: "hang", served: true }, "unknown provider timeout", "sent"],
  [{ header: "reset" }, "unknown provider connection_lost"],
  [{ header: "hang" }, "unknown provider timeout"],
  [{ unread: "hang" }, "unknown provider timeout"],
  [{ raw: "SSH-2.0-OpenSSH\r\n" }, "unknown provider protocol_error"],
  [{ pieces: 3, everyMs: 5 }, "accepted", "sent"],
];

/** A strict local service and how to call it. */
export interface FaultedService<Fake extends AsyncDisposable> {
  open(): Promise<Fake>;
  /** What the service lets go wrong. */
  http(fake: Fake): FaultyHttp;
  /** Mails it has sent. */
  sent(fake: Fake): number;
  openEsp(fake: Fake, times: Partial<Pick<EspIo, "after" | "fetch">>): Esp;
  /** What is to be done before the call that fails, such as getting a token. */
  prepare?(esp: Esp): Promise<unknown>;
}

/** Tests that each fault has its outcome, and that nothing is sent twice. */
export function testFaults<Fake extends AsyncDisposable>(
  name: string,
  rows: readonly FaultRow[],
  service: FaultedService<Fake>,
): void {
  Deno.test(`${name}: every fault of the service has its outcome, and nothing is sent twice`, async (test) => {
    for (const row of rows) {
      const words = `${JSON.stringify(row[0]).slice(0, 120)}: ${row[1]}`;
      await test.step(words, () => meet(row, service));
    }
  });
}

async function meet<Fake extends AsyncDisposable>(
  [fault, expected, isSent = "not sent", seconds]: FaultRow,
  service: FaultedService<Fake>,
): Promise<void> {
  await using fake = await service.open();
  const http = service.http(fake);
  const isHang = JSON.stringify(fault).includes("hang");
  const time = new HeldTime();
  let heard = Promise.withResolvers<void>();
  const hearing: typeof fetch = async (...request) => {
    const response = await fetch(...request);
    heard.resolve();
    return response;
  };
  await using esp = service.openEsp(fake, isHang ? { after: time.after, fetch: hearing } : {});
  await service.prepare?.(esp);
  heard = Promise.withResolvers();
  http.fail(fault);
  const delivering = esp.deliver(parcelOf(["b@example.org"]), new AbortController().signal);
  if (isHang) {
    // Where it gets a status, the time is over only then.
    await (expected.endsWith(" timeout") ? http.hung : heard.promise);
    time.end();
  }
  const report = await delivering;
  const [outcome] = report.recipients.values();
  assert.equal(inWords(outcome), expected);
  assert.equal(service.sent(fake), isSent === "sent" ? 1 : 0);
  assert.equal(http.unmet, 0);
  const wait = outcome !== undefined && "afterMs" in outcome ? outcome.afterMs : undefined;
  assert.equal(wait, seconds === undefined ? undefined : seconds * 1000);
}
