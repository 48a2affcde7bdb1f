import assert from "node:assert/strict";
import { rowsOf, withServices } from "../support/spawn_services.ts";

Deno.test("withServices() runs the product as processes that can be killed and started again", async () => {
  await withServices({}, async (system) => {
    for (const service of [system.smtpServer, system.queueWorker, system.apiServer]) {
      assert.equal((await service.ask("/healthz"))?.status, 200, service.name);
    }
    assert.equal(await system.smtpServer.metric("smtp_active_sessions"), 0);
    await system.queueWorker.kill();
    assert.equal(await system.queueWorker.ask("/healthz"), undefined);
    await system.queueWorker.start();
    await system.postgres.kill();
    assert.equal((await system.apiServer.ask("/readyz"))?.status, 503);
    await system.postgres.restart();
    assert.deepEqual(await rowsOf(system, "select name from groups order by name"), [
      { name: "dev-company" },
      { name: "system" },
    ]);
    assert.equal(await system.smtpServer.stop(), 0);
    assert.equal(await system.queueWorker.stop(), 0);
    assert.equal(await system.apiServer.stop(), 0);
  });
});
