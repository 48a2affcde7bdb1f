/** What ends the tries early, and how to wait between them. */
export interface RetryOptions {
  /** Ends the waiting: the last error is then thrown at once. */
  readonly signal?: AbortSignal;
  /** False for an error that another call cannot cure; true for all when not given. */
  readonly worthIt?: (error: unknown) => boolean;
  /** Waits; may end early when the signal is aborted. */
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** Calls once, and again after each of the given delays while it throws; then throws the last error (ruling 1.19). */
export async function retry<T>(
  work: (attempt: number) => T | Promise<T>,
  delaysMs: readonly number[],
  { signal, worthIt = () => true, sleep = sleepFor }: RetryOptions = {},
): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await work(attempt);
    } catch (error) {
      const delayMs = delaysMs[attempt - 1];
      if (delayMs === undefined || signal?.aborted || !worthIt(error)) throw error;
      await sleep(delayMs, signal);
      if (signal?.aborted) throw error;
    }
  }
}

/** Resolves after a time, or at once when the signal is aborted; leaves no timer behind. */
export function sleepFor(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    function end(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    }
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end, { once: true });
  });
}
