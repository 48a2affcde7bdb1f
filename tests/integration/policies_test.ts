import assert from "node:assert/strict";
import { newId, type UserId } from "../../lib/ids.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { readPolicies } from "../../services/smtp-server/policies.ts";
import { type Fate, losingDatabase } from "../support/losing_database.ts";
import { testDatabase } from "../support/postgres.ts";
import { makeAccount, type TestAccount } from "../support/submissions.ts";

/** Policies under a clock that stands still, of two accounts with a domain each. */
async function openScene() {
  await using stack = new AsyncDisposableStack();
  const test = stack.use(await testDatabase());
  const intake = stack.use(
    openDatabase({ url: test.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" }),
  );
  const session = stack.use(await openSession({ url: test.ownerUrl }));
  const run = (query: string) => session.run(query);
  const [one, two] = [await makeAccount(test.ownerUrl), await makeAccount(test.ownerUrl)];
  const setDomains = ({ user }: TestAccount, domains: string) =>
    run(`update users set allowed_domains = '${domains}' where id = '${user}'`);
  await setDomains(one, '["one.example"]');
  await setDomains(two, '["two.example"]');
  const state = { now: 1_000, fate: "answered" as Fate, batches: [] as number[] };
  const policyOf = readPolicies({
    database: losingDatabase(intake, () => state.fate),
    lineEndings: "refuse",
    now: () => new Date("2026-11-30T12:00:00Z"),
    clock: () => state.now,
    onBatch: (size) => state.batches.push(size),
  });
  const held = stack.move();
  return {
    one,
    two,
    state,
    run,
    setDomains,
    policyOf,
    domainsOf: async ({ user }: TestAccount) => (await policyOf(user))?.allowedDomains,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

Deno.test("readPolicies() asks once for what is asked in 5 ms, and never mixes two users", async () => {
  await using scene = await openScene();
  const { one, two, state } = scene;
  const asked = [one, two, one, two, one].map(scene.domainsOf);
  state.now += 4.9;
  const domains = await Promise.all([...asked, scene.domainsOf(two), scene.domainsOf(one)]);
  const [first, second] = [["one.example"], ["two.example"]];
  assert.deepEqual(domains, [first, second, first, second, first, second, first]);
  assert.equal(state.batches.reduce((sum, size) => sum + size, 0), 2);
});

Deno.test("readPolicies() counts a revocation after 5 ms, for the one whom it is about", async () => {
  await using scene = await openScene();
  const { one, two, state } = scene;
  await Promise.all([one, two].map(scene.domainsOf));
  await scene.run(`update users set status = 'suspended' where id = '${one.user}'`);
  await scene.setDomains(two, '["new.example"]');
  state.now += 4.9;
  assert.equal((await scene.policyOf(one.user))?.isSuspended, false);
  assert.deepEqual(await scene.domainsOf(two), ["two.example"]);
  // Counted from the asking: what was asked meanwhile makes nothing last longer.
  state.now += 0.1;
  assert.equal((await scene.policyOf(one.user))?.isSuspended, true);
  assert.deepEqual(await scene.domainsOf(two), ["new.example"]);
  assert.equal((await scene.policyOf(two.user))?.isSuspended, false);
});

Deno.test("readPolicies() knows nobody who never was, or is gone", async () => {
  await using scene = await openScene();
  const { one, two, state } = scene;
  assert.equal(await scene.policyOf(newId<UserId>()), undefined);
  assert.deepEqual(await scene.domainsOf(one), ["one.example"]);
  await scene.run(`begin; delete from group_members where user_id = '${one.user}';
    delete from users where id = '${one.user}'; commit`);
  state.now += 5;
  assert.equal(await scene.policyOf(one.user), undefined);
  assert.deepEqual(await scene.domainsOf(two), ["two.example"]);
});

Deno.test("readPolicies() that cannot ask says so to all of these 5 ms, and asks again after them", async () => {
  await using scene = await openScene();
  scene.state.fate = "never sent";
  await assert.rejects(scene.policyOf(scene.one.user), { code: "database_down" });
  scene.state.fate = "answered";
  await assert.rejects(scene.policyOf(scene.one.user), { code: "database_down" });
  assert.deepEqual(await scene.domainsOf(scene.two), ["two.example"]);
  scene.state.now += 5;
  assert.deepEqual(await scene.domainsOf(scene.one), ["one.example"]);
});

Deno.test("readPolicies() allows nobody by a corrupt list", async () => {
  await using scene = await openScene();
  for (const corrupt of ["{}", '["one.example", 1]', "null", '"*"']) {
    await scene.setDomains(scene.one, corrupt);
    scene.state.now += 5;
    assert.equal(await scene.domainsOf(scene.one), undefined, corrupt);
  }
});
