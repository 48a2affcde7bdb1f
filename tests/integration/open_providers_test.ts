import assert from "node:assert/strict";
import { z } from "zod";
import type { Esp, EspKind } from "../../lib/esp/esp.ts";
import { type GroupId, newId } from "../../lib/ids.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { OpenProviders } from "../../services/queue-worker/open_providers.ts";
import { memoryLog } from "../support/memory_log.ts";
import { espIo } from "../support/parcels.ts";
import { testDatabase } from "../support/postgres.ts";

/** A kind that tells which of those it has opened, counted from 0, were closed. */
function countedKind(closed: number[]): EspKind<unknown> {
  let opened = 0;
  return {
    name: "stdout",
    settings: z.unknown(),
    secretKeys: [],
    targetKeys: [],
    open(): Esp {
      const number = opened++;
      return {
        limits: { recipients: 1, bytes: 1 },
        smtpUtf8: true,
        deliver: () => Promise.reject(new Error("Nothing is sent here")),
        check: () => Promise.resolve({ faults: [] }),
        [Symbol.asyncDispose]: () => Promise.resolve(void closed.push(number)),
      };
    },
  };
}

Deno.test("OpenProviders closes the group whose mail was not sent for longest when there are too many", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  const groups = Array.from({ length: 1_001 }, () => newId<GroupId>());
  await owner.query(
    `insert into groups (id, name) select id, 'group ' || n
     from unnest($1::uuid[]) with ordinality as g (id, n)`,
    [groups],
  );
  const role = "smtp_proxy_worker";
  await using connections = openDatabase({ url: database.urlFor(role), role });
  const closed: number[] = [];
  const kind = countedKind(closed);
  await using providers = new OpenProviders({
    sql: connections.system,
    findKind: () => kind,
    io: espIo(),
    keys: [],
    withoutProvider: "stdout",
    onAttention: () => {},
    log: memoryLog(),
  });
  const use = async (n: number) => {
    using _borrowed = await providers.borrow(groups[n] ?? newId(), 0);
  };
  for (let n = 0; n < 1_000; n++) await use(n);
  // Again and again, as a group is that has much mail, and then the next.
  for (const n of [0, 0, 1, 1, 0, 0]) await use(n);
  assert.deepEqual(closed, []);
  await use(1_000);
  assert.deepEqual(closed, [2]);
});
