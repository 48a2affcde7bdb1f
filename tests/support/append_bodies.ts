// A process of the tests: puts bodies into a local store until it is killed, and says of each that it is durable.
import { createHash } from "node:crypto";
import { type GroupId, type MessageId, newId, type UserId } from "../../lib/ids.ts";
import type { BodyLabel } from "../../lib/store/message_store.ts";
import { openStore } from "../../lib/store/open_store.ts";
import { openSpool } from "../../lib/store/spool.ts";
import { spoolFolder } from "../../lib/store/spool_folder.ts";

const path = Deno.args[0] ?? "";
const store = await openStore({ type: "local", path, instance: "crashing", minFree: 0 });
const spool = await openSpool({ directory: spoolFolder(path) });
const encoder = new TextEncoder();

async function putForEver(seed: number): Promise<never> {
  for (let round = 0;; round++) {
    const size = round % 20 === 19 ? 600_000 + seed : round * 997 % 30_000;
    const bytes = new Uint8Array(size).fill(seed + round);
    const label: BodyLabel = {
      id: newId<MessageId>(),
      group: `group ${seed % 3}` as GroupId,
      user: newId<UserId>(),
      mailFrom: "",
      recipients: [`to${round}@example.org`],
    };
    const writer = spool.begin(label);
    await writer.write(bytes);
    await using body = (await writer.finish()).body;
    const ref = await store.put(label, body);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    Deno.stdout.writeSync(encoder.encode(`${ref} ${sha256} ${label.id}\n`));
  }
}

await Promise.all(Array.from({ length: 20 }, (_, seed) => putForEver(seed)));
