import { clearAlarm, setAlarm } from "../../lib/alarms.ts";

/**
 * What the work reports, or a rejection once `limitMs` has passed. The work's signal is aborted with the one given and
 * when its report comes too late, so that it begins nothing of which nobody would learn.
 */
export async function reportInTime<T>(
  limitMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  // Not AbortSignal.any: what it makes is known by weak references alone, each a burden to the collector.
  const own = new AbortController();
  const pass = () => own.abort(signal.reason);
  if (signal.aborted) pass();
  signal.addEventListener("abort", pass);
  const lost = Promise.withResolvers<never>();
  const alarm = setAlarm(limitMs, () => {
    const why = new Error(`No report after ${limitMs} ms`);
    lost.reject(why);
    own.abort(why);
  });
  try {
    return await Promise.race([work(own.signal), lost.promise]);
  } finally {
    clearAlarm(alarm);
    signal.removeEventListener("abort", pass);
  }
}
