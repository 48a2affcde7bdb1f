/**
 * What the work reports, or a rejection once `limitMs` has passed. The work's signal is aborted with the one given and
 * when its report comes too late, so that it begins nothing of which nobody would learn.
 */
export async function reportInTime<T>(
  limitMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const lost = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const why = new Error(`No report after ${limitMs} ms`);
    lost.reject(why);
    late.abort(why);
  }, limitMs);
  try {
    return await Promise.race([work(AbortSignal.any([signal, late.signal])), lost.promise]);
  } finally {
    clearTimeout(timer);
  }
}
