import { runService } from "../../lib/run_service.ts";
import { openWorker } from "./open_worker.ts";

await runService("queue-worker", ({ worker }) => worker, async (running) => {
  const { config, log, metrics, stopping, stopped } = running;
  await using worker = await openWorker(config, {
    log,
    metrics,
    signal: stopping,
    name: `${Deno.hostname()}:${config.instance}`,
    // It is bound by now: whoever has a port that is set has the name, so the process before is gone.
    hasOwnPort: config.worker.opsPort !== 0,
  });
  if (worker === undefined) return;
  running.begin(worker.whatIsDown);
  log.info("worker started", { count: config.queue.workers });
  await stopped;
});
