import assert from "node:assert/strict";
import type { GroupId, UserId } from "../../lib/ids.ts";
import type { RefusedSubmission } from "../../lib/refused_submissions/refused_submissions_table.ts";
import type { RefusedStep } from "./intake.ts";
import { type RefusedOptions, RefusedSubmissions } from "./refused_submissions.ts";

/** A wrong login, unless told otherwise. */
function step(changes: Partial<RefusedStep> & { readonly from?: string } = {}): RefusedStep {
  const { from = "192.0.2.1", ...rest } = changes;
  return {
    reason: "credentials_wrong",
    reply: { code: 535, enhanced: "5.7.8" },
    text: "Authentication failed",
    command: "AUTH PLAIN",
    identity: undefined,
    tried: "shop",
    sender: undefined,
    client: { address: from, helo: "x" },
    correlationId: "c",
    ...rest,
  };
}

function identityOf(group: string, username = "shop"): RefusedStep["identity"] {
  return { user: "u" as UserId, group: group as GroupId, username, revision: "1" };
}

/** Keeps in memory, and counts. */
function book(options: Partial<RefusedOptions> = {}) {
  const written: RefusedSubmission[] = [];
  const results = { stored: 0, counted: 0, "left_out": 0, lost: 0 };
  const faults: unknown[] = [];
  const refused = new RefusedSubmissions({
    write: (record) => Promise.resolve(void written.push(record)),
    onResult: (result, count) => void (results[result] += count),
    onFault: (error) => void faults.push(error),
    gatherMs: 3_600_000,
    ...options,
  });
  return { refused, written, results, faults };
}

Deno.test("RefusedSubmissions writes the first of a kind, and the others of the minute as one", async () => {
  const times = [0, 1, 2].map((n) => new Date(Date.UTC(2026, 0, 1, 0, 0, n)));
  const clock = times.values();
  const { refused, written, results } = book({ now: () => clock.next().value ?? times[2] ?? new Date() });
  for (let n = 0; n < 200; n++) refused.note(step({ text: `try ${n}` }));
  assert.deepEqual(written, [], "nothing is written while the client waits");
  await refused[Symbol.asyncDispose]();
  assert.deepEqual(written.map(({ times, reply }) => [times, reply]), [[1, "try 0"], [199, "try 199"]]);
  assert.deepEqual(written.map(({ firstAt, lastAt }) => [firstAt, lastAt]), [
    [times[0], times[0]],
    [times[1], times[2]],
  ]);
  assert.deepEqual(results, { stored: 2, counted: 199, "left_out": 0, lost: 0 });
});

Deno.test("RefusedSubmissions tells accounts, addresses and reasons apart, whatever a name's case", async () => {
  const { refused, written } = book();
  for (const tried of ["shop", "SHOP", "other"]) refused.note(step({ tried }));
  refused.note(step({ from: "198.51.100.1" }));
  refused.note(step({ reason: "credentials_throttled" }));
  refused.note(step({ identity: identityOf("g") }));
  // One client has a whole /64.
  for (const from of ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]) refused.note(step({ from }));
  await refused[Symbol.asyncDispose]();
  assert.deepEqual(written.map(({ times }) => times), Array.from({ length: 9 }, () => 1));
  const names = written.map(({ account, address }) => `${account} ${address}`);
  assert.deepEqual(names.slice(-2), ["SHOP 192.0.2.1", "shop 2001:db8::2"]);
});

Deno.test("RefusedSubmissions gives each address and each group a share, and all together another", async () => {
  const { refused, written, results } = book({ shares: { inAll: 160 } });
  for (let n = 0; n < 1000; n++) refused.note(step({ tried: `guess-${n}` }));
  assert.equal(results.left_out, 970);
  for (let n = 0; n < 1000; n++) refused.note(step({ identity: identityOf("g", `account-${n}`) }));
  assert.equal(results.left_out, 970 + 880);
  // Another group's, and what has a record already, are kept as long as there is room for all.
  for (let n = 0; n < 20; n++) refused.note(step({ identity: identityOf("h", `account-${n}`) }));
  refused.note(step({ tried: "guess-0" }));
  assert.deepEqual(results, { stored: 0, counted: 1, "left_out": 970 + 880 + 10, lost: 0 });
  await refused[Symbol.asyncDispose]();
  assert.equal(written.length, 161);
});

Deno.test("RefusedSubmissions begins anew when a minute is over", async () => {
  const two = Promise.withResolvers<void>();
  const written: number[] = [];
  const write = ({ times }: RefusedSubmission) => {
    if (written.push(times) === 2) two.resolve();
    return Promise.resolve();
  };
  await using refused = book({ write, gatherMs: 1, windowMs: 1 }).refused;
  refused.note(step());
  refused.note(step());
  await two.promise;
  assert.deepEqual(written, [1, 1]);
  const third = Promise.withResolvers<void>();
  const late = book({ write: () => Promise.resolve(third.resolve()), gatherMs: 1, windowMs: 1 });
  late.refused.note(step());
  await third.promise;
  await late.refused[Symbol.asyncDispose]();
  assert.equal(late.results.stored, 1);
});

Deno.test("RefusedSubmissions counts what cannot be written, and tells of it once", async () => {
  const { refused, results, faults } = book({ write: () => Promise.reject(new Error("down")) });
  for (const tried of ["a", "b", "c"]) refused.note(step({ tried }));
  await refused[Symbol.asyncDispose]();
  assert.deepEqual(results, { stored: 0, counted: 0, "left_out": 0, lost: 3 });
  assert.equal(faults.length, 1);
});

Deno.test("RefusedSubmissions keeps no key that was given for the name", async () => {
  const { refused, written } = book();
  const key = `sp_abcdefgh_${"k".repeat(43)}`;
  for (const tried of [key, `shop ${key}`, key.slice(0, -1)]) refused.note(step({ tried }));
  await refused[Symbol.asyncDispose]();
  assert.deepEqual(written.map(({ account }) => account), [
    "sp_abcdefgh_…",
    "shop sp_abcdefgh_…",
    "sp_abcdefgh_…",
  ]);
  assert.doesNotMatch(JSON.stringify(written), /kkk/);
});

Deno.test("RefusedSubmissions keeps room for those who are logged in, whoever else comes", async () => {
  const { refused, written, results } = book({ shares: { inAll: 20 } });
  for (let n = 0; n < 100; n++) refused.note(step({ from: `198.51.100.${n}` }));
  for (let n = 0; n < 10; n++) refused.note(step({ identity: identityOf("g", `account-${n}`) }));
  await refused[Symbol.asyncDispose]();
  assert.equal(written.filter(({ group }) => group === "g").length, 10);
  assert.deepEqual([written.length, results.left_out], [20, 90]);
});

Deno.test("RefusedSubmissions holds no more of a name than is kept", async () => {
  const { refused, written } = book();
  for (const end of ["a", "b"]) refused.note(step({ tried: "x".repeat(9000) + end }));
  await refused[Symbol.asyncDispose]();
  assert.deepEqual(written.map(({ account, times }) => [account, times]), [["x".repeat(255), 1], [
    "x".repeat(255),
    1,
  ]]);
});
