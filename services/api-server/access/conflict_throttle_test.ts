import assert from "node:assert/strict";
import { Refusal } from "../../../lib/refusal.ts";
import { ConflictThrottle } from "./conflict_throttle.ts";

Deno.test("ConflictThrottle lets each user meet twenty taken addresses an hour", async () => {
  let now = 0;
  const throttle = new ConflictThrottle(() => now);
  const taken = () => Promise.reject(new Refusal("email_taken", "email already in use"));
  const codeOf = async (user: string, work: () => Promise<unknown>) => {
    try {
      await throttle.guard(user, work);
      return "served";
    } catch (error) {
      return error instanceof Refusal ? error.code : String(error);
    }
  };
  for (let n = 0; n < 20; n++) assert.equal(await codeOf("a", taken), "email_taken");
  assert.equal(await codeOf("a", taken), "too_many_conflicts");
  assert.equal(await codeOf("a", () => Promise.resolve()), "too_many_conflicts");
  assert.equal(await codeOf("b", () => Promise.resolve()), "served");
  now = 3_600_000;
  assert.equal(await codeOf("a", () => Promise.resolve()), "served");
  assert.equal(await codeOf("a", () => Promise.reject(new Error("a bug"))), "Error: a bug");
});
