import assert from "node:assert/strict";
import { watchLaunchers } from "./launcher.ts";

Deno.test("watchLaunchers() calls back once a launcher is gone", async () => {
  const gone = Promise.withResolvers<void>();
  const answers = [true, false];
  using _watch = watchLaunchers([1], gone.resolve, () => Promise.resolve(answers.shift() ?? true));
  await gone.promise;
  assert.deepEqual(answers, []);
});

for (const isThere of [true, false]) {
  Deno.test(`watchLaunchers() is over when it is disposed in the midst of a look that says ${isThere}`, async () => {
    const [looking, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<boolean>()];
    let calls = 0;
    let looks = 0;
    const watch = watchLaunchers([1], () => calls++, () => {
      looks++;
      looking.resolve();
      return answer.promise;
    });
    await looking.promise;
    watch[Symbol.dispose]();
    answer.resolve(isThere);
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.deepEqual([calls, looks], [0, 1]);
  });
}
