import assert from "node:assert/strict";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { openThrottle } from "../../services/smtp-server/accounts.ts";
import { throttleDefaults } from "../../services/smtp-server/throttle.ts";
import { testDatabase } from "../support/postgres.ts";

const [guesser, own, stranger] = ["192.0.2.1", "198.51.100.1", "203.0.113.1"];

Deno.test("openThrottle() still holds back whom the process before held back", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  await using intake = openDatabase({ url: database.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" });
  const options = { ...throttleDefaults, failuresPerAddress: 3, failuresPerAccount: 5, recoverMs: 600_000 };
  const open = () => openThrottle(intake, (error) => assert.fail(String(error)), options);
  const before = await open();
  const now = Date.now();
  before.succeeded("anna", own, now);
  for (let n = 0; n < 6; n++) before.failed("anna", guesser, now);
  const isWritten =
    `select from auth_attempts where (account, address) = ('anna', '${guesser}') and failures = 6`;
  while ((await owner.run(isWritten)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const restarted = await open();
  assert.equal(await restarted.mayTry("berta", guesser, Date.now()), false, "the address");
  assert.equal(await restarted.mayTry("anna", stranger, Date.now()), false, "the account");
  assert.equal(await restarted.mayTry("anna", own, Date.now()), true, "its own client");
  assert.equal(await restarted.mayTry("berta", stranger, Date.now()), true, "anybody else");
  await owner.run("update auth_attempts set failed_at = failed_at - interval '1 hour'");
  assert.equal(await (await open()).mayTry("berta", guesser, Date.now()), true, "an hour later");
});

Deno.test("openThrottle() tells when the past cannot be read, and holds nobody back for it", async () => {
  const faults: unknown[] = [];
  await using nowhere = openDatabase({ url: "postgres://nobody:nothing@127.0.0.1:1/none" });
  const throttle = await openThrottle(nowhere, (error) => faults.push(error));
  assert.equal(faults.length, 1);
  assert.equal(await throttle.mayTry("anna", guesser, Date.now()), true);
});

Deno.test("openThrottle() writes down attempts with a name that is cut within a character", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  await using intake = openDatabase({ url: database.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" });
  const throttle = await openThrottle(intake, (error) => assert.fail(String(error)));
  // In lower case it is a code unit longer, so that the cut falls into the last character.
  const name = `\u0130${"a".repeat(252)}\u{1f600}`;
  throttle.failed(name, guesser, Date.now());
  const isWritten = "select from auth_attempts where length(account) = 255 and failures = 1";
  while ((await owner.run(isWritten)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(await throttle.mayTry(name, stranger, Date.now()), true);
});
