/** One connection that listens, as the driver's file gives it. */
export interface Listener {
  /** Resolves when the connection is gone. */
  readonly ended: Promise<void>;
  listen(channel: string, handler: (payload: string) => void): Promise<void>;
  /** Throws when the connection no longer answers. */
  probe(): Promise<void>;
  close(): Promise<void>;
}

const reconnectMs = 500;
const probeMs = 10_000;

/** Keeps one listening connection alive until disposed; `onGap` is called after each (re)connection. */
export function listenForever(
  connect: () => Promise<Listener>,
  channel: string,
  handler: (payload: string) => void,
  onGap: () => void,
): AsyncDisposable {
  const stop = Promise.withResolvers<void>();
  let stopped = false;
  async function keepListening(): Promise<void> {
    while (!stopped) {
      try {
        await listenOnce(await connect());
      } catch {
        // Not reachable just now: the gap is told when it is again, and waiting parts poll meanwhile.
      }
      await pause(reconnectMs, stop.promise);
    }
  }
  async function listenOnce(listener: Listener): Promise<void> {
    try {
      await listener.listen(channel, handler);
      onGap();
      let alive = true;
      const ended = Promise.race([listener.ended, stop.promise]).then(() => alive = false);
      while (alive) {
        await pause(probeMs, ended);
        if (alive) await listener.probe();
      }
    } finally {
      await listener.close();
    }
  }
  const running = keepListening();
  return {
    async [Symbol.asyncDispose]() {
      stopped = true;
      stop.resolve();
      await running;
    },
  };
}

async function pause(ms: number, cut: Promise<unknown>): Promise<void> {
  const waited = Promise.withResolvers<void>();
  const timer = setTimeout(waited.resolve, ms);
  await Promise.race([waited.promise, cut]);
  clearTimeout(timer);
}
