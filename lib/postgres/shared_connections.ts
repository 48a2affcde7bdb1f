import { setImmediate } from "node:timers";

/** What is needed of a driver's connection that can have several statements under way. */
export interface SharedConnection<Result> {
  query(
    statement: { readonly name: string; readonly text: string; readonly values: unknown[] },
  ): Promise<Result>;
  /** Hands the connection back; with an error it is closed. */
  release(broken?: Error): void;
  /** `error` and `end` tell that it is gone, also while nobody uses it. */
  on(event: "error" | "end", listener: (error?: Error) => void): unknown;
  readonly connection: { readonly stream: { cork(): void; uncork(): void } };
}

/** The most connections that are shared: two, so that one that hangs is not everybody's. */
export const mostShared = 2;

interface Shared<Result> {
  readonly client: Promise<SharedConnection<Result>>;
  underWay: number;
  isCorked: boolean;
}

/**
 * Statements of many callers on few connections, several under way on each: what is asked in one turn of the event
 * loop goes out in one piece, and costs the server one waking. For short statements that are transactions of their own,
 * because each waits for those before it.
 */
export class SharedConnections<Result> {
  readonly #connect: () => Promise<SharedConnection<Result>>;
  readonly #isLost: (error: unknown) => boolean;
  readonly #shared: Shared<Result>[] = [];
  #isClosed = false;

  /** `isLost` tells whether an error leaves a connection that nobody should use again. */
  constructor(connect: () => Promise<SharedConnection<Result>>, isLost: (error: unknown) => boolean) {
    this.#connect = connect;
    this.#isLost = isLost;
  }

  /** Runs one statement; fails as the driver does, and when this is closed. */
  async query(
    statement: { readonly name: string; readonly text: string },
    values: unknown[],
  ): Promise<Result> {
    const shared = this.#leastBusy();
    shared.underWay++;
    try {
      const client = await shared.client;
      this.#gather(shared, client);
      try {
        return await client.query({ ...statement, values });
      } catch (error) {
        if (this.#isLost(error)) this.#drop(shared, client, error);
        throw error;
      }
    } finally {
      shared.underWay--;
    }
  }

  /** Hands every connection back. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const all = this.#shared.splice(0);
    for (const outcome of await Promise.allSettled(all.map(({ client }) => client))) {
      if (outcome.status === "fulfilled") outcome.value.release();
    }
  }

  #leastBusy(): Shared<Result> {
    if (this.#isClosed) throw new Error("Cannot ask the database: its connections are closed");
    const [first, ...others] = this.#shared;
    const least = others.reduce((a, b) => a !== undefined && a.underWay <= b.underWay ? a : b, first);
    if (least !== undefined && (least.underWay === 0 || this.#shared.length >= mostShared)) return least;
    const shared = { client: this.#connect(), underWay: 0, isCorked: false };
    this.#shared.push(shared);
    shared.client.then(
      (client) => {
        client.on("error", (error) => this.#drop(shared, client, error));
        client.on("end", () => this.#drop(shared, client, new Error("The connection has ended")));
      },
      // Whoever asked is told; the next one connects anew, whatever it was.
      () => this.#forget(shared),
    );
    return shared;
  }

  #gather(shared: Shared<Result>, { connection: { stream } }: SharedConnection<Result>): void {
    if (shared.isCorked) return;
    shared.isCorked = true;
    stream.cork();
    setImmediate(() => {
      shared.isCorked = false;
      stream.uncork();
    });
  }

  #drop(shared: Shared<Result>, client: SharedConnection<Result>, error: unknown): void {
    if (this.#forget(shared)) client.release(error instanceof Error ? error : new Error(String(error)));
  }

  /** Whether it was still in use. */
  #forget(shared: Shared<Result>): boolean {
    const at = this.#shared.indexOf(shared);
    if (at >= 0) this.#shared.splice(at, 1);
    return at >= 0;
  }
}
