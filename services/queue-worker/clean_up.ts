import type { ProviderId } from "../../lib/ids.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { espOf, type OpenProvider, type OpenProviders } from "./open_providers.ts";

/** What cleaning up takes. */
export interface CleanUpOptions {
  readonly providers: Pick<OpenProviders, "forEachOpen">;
  readonly log: Log;
  /** A clock in milliseconds that never goes back. */
  readonly now?: () => number;
}

const lookMs = 60_000;
const gapMs = 600_000;
const longestMs = 120_000;
const rememberedProviders = 10_000;

/** Has each opened provider remove every ten minutes what calls of a killed worker have left at its service. */
export class CleanUp implements AsyncDisposable {
  readonly #options: CleanUpOptions;
  readonly #now: () => number;
  readonly #doneAt = new Map<ProviderId, number>();
  readonly #stop = new AbortController();
  readonly #timer = setInterval(() => this.#look(), lookMs);
  #running: Promise<void> | undefined;

  constructor(options: CleanUpOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Cleans up where it is due; never throws. */
  async run(): Promise<void> {
    if (this.#doneAt.size > rememberedProviders) this.#doneAt.clear();
    await this.#options.providers.forEachOpen((provider) => this.#cleanUp(provider));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#running;
  }

  #look(): void {
    this.#running ??= this.run().finally(() => this.#running = undefined);
  }

  async #cleanUp(provider: OpenProvider): Promise<void> {
    const { id, group } = provider;
    const esp = espOf(provider);
    if (id === undefined || esp?.cleanUp === undefined || this.#stop.signal.aborted) return;
    const doneAt = this.#doneAt.get(id);
    if (doneAt !== undefined && this.#now() - doneAt < gapMs) return;
    this.#doneAt.set(id, this.#now());
    const { log } = this.#options;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), longestMs);
    try {
      const count = await esp.cleanUp(AbortSignal.any([this.#stop.signal, limit.signal]));
      if (count > 0) log.info("provider cleaned up", { provider: id, group, count });
    } catch (error) {
      log.warn("cannot clean up at a provider", { provider: id, group, error });
    } finally {
      clearTimeout(timer);
    }
  }
}
