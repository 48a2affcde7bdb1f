import assert from "node:assert/strict";
import { type AttemptLog, type LoginAttempt, Throttle, throttleDefaults } from "./throttle.ts";

class Attempts implements AttemptLog {
  readonly recorded: LoginAttempt[] = [];
  asked = 0;
  record(attempt: LoginAttempt): void {
    this.recorded.push(attempt);
  }
  hasSucceeded(username: string, address: string, sinceMs: number): Promise<boolean> {
    this.asked++;
    return Promise.resolve(
      this.recorded.some((one) =>
        one.hasSucceeded && one.username === username && one.address === address && one.atMs >= sinceMs
      ),
    );
  }
}

const options = { ...throttleDefaults, failuresPerAddress: 3, failuresPerAccount: 5, recoverMs: 1000 };

Deno.test("Throttle holds an address back after its failures and lets it try again in time", async () => {
  const throttle = new Throttle(new Attempts(), options);
  for (let n = 0; n < 3; n++) {
    assert.equal(await throttle.mayTry("a", "192.0.2.1", 0), true);
    throttle.failed("a", "192.0.2.1", 0);
  }
  assert.equal(await throttle.mayTry("b", "192.0.2.1", 0), false);
  assert.equal(await throttle.mayTry("b", "192.0.2.2", 0), true);
  assert.equal(await throttle.mayTry("b", "192.0.2.1", 1000), true);
});

Deno.test("Throttle counts an IPv6 client by its /64", async () => {
  const throttle = new Throttle(new Attempts(), options);
  for (let n = 0; n < 3; n++) throttle.failed("a", `2001:db8::${n}`, 0);
  assert.equal(await throttle.mayTry("a", "2001:db8::ffff", 0), false);
  assert.equal(await throttle.mayTry("a", "2001:db8:0:1::1", 0), true);
});

Deno.test("Throttle holds strangers off an account that is guessed at, and never its own clients", async () => {
  const attempts = new Attempts();
  const throttle = new Throttle(attempts, options);
  throttle.succeeded("a", "198.51.100.1", 0);
  for (let n = 0; n < 5; n++) throttle.failed("a", `192.0.2.${n}`, 1);
  assert.equal(await throttle.mayTry("a", "203.0.113.1", 1), false);
  assert.equal(await throttle.mayTry("a", "198.51.100.1", 1), true);
  const restarted = new Throttle(attempts, options);
  restarted.recall(attempts.recorded.flatMap((one) => one.hasSucceeded ? [] : [{ ...one, failures: 1 }]));
  assert.equal(await restarted.mayTry("a", "203.0.113.1", 1), false);
  assert.equal(await restarted.mayTry("a", "198.51.100.1", 1), true);
  assert.equal(restarted.isKnown("a", "198.51.100.1", 1), false);
});

Deno.test("Throttle.recall() holds back who failed too often just before, and for no longer than that takes", async () => {
  const throttle = new Throttle(new Attempts(), options);
  const at = { address: "192.0.2.1", atMs: 0 };
  throttle.recall([{ ...at, username: "a", failures: 2 }, { ...at, username: "b", failures: 1000 }]);
  for (const [username, address] of [["c", "192.0.2.1"], ["b", "192.0.2.2"]] as const) {
    assert.equal(await throttle.mayTry(username, address, 1000), false);
    assert.equal(await throttle.mayTry(username, address, 1001), true);
  }
  assert.equal(await throttle.mayTry("a", "192.0.2.2", 0), true);
});

Deno.test("Throttle lets an account's own client try from an address that others guess from, within bounds", async () => {
  const attempts = new Attempts();
  const throttle = new Throttle(attempts, options);
  throttle.succeeded("a", "192.0.2.1", 0);
  for (let n = 0; n < 3; n++) throttle.failed("b", "192.0.2.1", 0);
  assert.equal(await throttle.mayTry("c", "192.0.2.1", 0), false);
  assert.equal(await throttle.mayTry("a", "192.0.2.1", 0), true);
  const restarted = new Throttle(attempts, options);
  for (let n = 0; n < 3; n++) restarted.failed("b", "192.0.2.1", 0);
  assert.equal(await restarted.mayTry("a", "192.0.2.1", 0), true);
  for (let n = 0; n < 5; n++) throttle.failed("a", "192.0.2.1", 0);
  assert.equal(await throttle.mayTry("a", "192.0.2.1", 0), false);
});

Deno.test("Throttle forgets who succeeded too long ago", async () => {
  const throttle = new Throttle(new Attempts(), { ...options, knownForMs: 10 });
  throttle.succeeded("a", "198.51.100.1", 0);
  for (let n = 0; n < 6; n++) throttle.failed("a", `192.0.2.${n}`, 11);
  assert.equal(await throttle.mayTry("a", "198.51.100.1", 11), false);
});

Deno.test("Throttle writes a frequent client down once an hour", () => {
  const attempts = new Attempts();
  const throttle = new Throttle(attempts, options);
  for (let minute = 0; minute < 120; minute++) throttle.succeeded("a", "192.0.2.1", minute * 60_000);
  assert.equal(attempts.recorded.length, 2);
});

Deno.test("Throttle keeps a bounded number of entries", async () => {
  const throttle = new Throttle(new Attempts(), { ...options, maxEntries: 2 });
  for (let n = 0; n < 3; n++) throttle.failed("a", "192.0.2.1", 0);
  throttle.failed("b", "192.0.2.2", 0);
  assert.equal(await throttle.mayTry("c", "192.0.2.1", 0), false);
  throttle.failed("c", "192.0.2.3", 0);
  assert.equal(await throttle.mayTry("c", "192.0.2.1", 0), true);
});
