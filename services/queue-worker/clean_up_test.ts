import assert from "node:assert/strict";
import type { Esp } from "../../lib/esp/esp.ts";
import { type GroupId, newId, type ProviderId } from "../../lib/ids.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { CleanUp } from "./clean_up.ts";
import type { OpenProvider } from "./open_providers.ts";
import { Slots } from "./slots.ts";

function opened(cleanUp?: Esp["cleanUp"]): OpenProvider {
  const esp: Esp = {
    limits: { recipients: 1, bytes: 1 },
    smtpUtf8: true,
    deliver: () => Promise.reject(new Error("Nothing is delivered here")),
    check: () => Promise.resolve({ faults: [] }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
    ...(cleanUp !== undefined && { cleanUp }),
  };
  const places = new Slots(1);
  const group = newId<GroupId>();
  const names = { id: newId<ProviderId>(), group, name: "p", type: "t" };
  return { ...names, enabled: true, unknown: "retry", opened: { esp, places } };
}

function providersOf(all: readonly OpenProvider[]) {
  return {
    async forEachOpen(work: (provider: OpenProvider) => Promise<void>) {
      for (const provider of all) await work(provider);
    },
  };
}

function notes(): { readonly log: Log; readonly lines: readonly string[] } {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const log: Log = { debug: write, info: write, warn: write, error: write, with: () => log };
  return { log, lines };
}

Deno.test("CleanUp asks each provider that can clean up, every ten minutes at most", async () => {
  let asked = 0;
  let nowMs = 0;
  const { log, lines } = notes();
  const all = [opened(), opened(() => Promise.resolve(++asked))];
  await using cleanUp = new CleanUp({ providers: providersOf(all), log, now: () => nowMs });
  await cleanUp.run();
  await cleanUp.run();
  assert.equal(asked, 1);
  nowMs = 600_000;
  await cleanUp.run();
  assert.equal(asked, 2);
  assert.deepEqual(lines, ["provider cleaned up", "provider cleaned up"]);
});

Deno.test("CleanUp goes on with the next provider when one cannot be cleaned up", async () => {
  let asked = 0;
  const { log, lines } = notes();
  const all = [opened(() => Promise.reject(new Error("down"))), opened(() => Promise.resolve(asked++))];
  await using cleanUp = new CleanUp({ providers: providersOf(all), log });
  await cleanUp.run();
  assert.equal(asked, 1);
  assert.deepEqual(lines, ["cannot clean up at a provider"]);
});
