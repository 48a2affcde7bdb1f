interface Call {
  readonly id: number;
  readonly question: unknown;
}

interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly message: string; readonly code?: string };
}

/** A module that answers calls in a thread of its own. The first call starts it, and the next one after a crash. */
export class Thread<Question> implements Disposable {
  readonly #module: string;
  readonly #name: string;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #worker: Worker | undefined;
  #calls = 0;
  #isDisposed = false;

  /** The module, by its `import.meta.url`, calls `serveThread` with the same name. */
  constructor(module: string, name: string) {
    this.#module = module;
    this.#name = name;
  }

  /**
   * What the thread answers, a copy except for shared memory. Throws what it throws, by message and `code`, and when
   * the thread cannot be started or is ended before it answers.
   */
  async call(question: Question): Promise<unknown> {
    if (this.#isDisposed) throw this.#cannot("it was ended");
    const id = ++this.#calls;
    this.#running().postMessage({ id, question } satisfies Call);
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    return await answer.promise;
  }

  [Symbol.dispose](): void {
    // For good: what is still cleared away afterwards would start a thread that nobody ends.
    this.#isDisposed = true;
    this.#end("it was ended");
  }

  #running(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(this.#module, { type: "module", name: this.#name });
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => this.#take(data));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#end(event.message);
    });
    worker.addEventListener("messageerror", () => this.#end("it gave an answer that cannot be read"));
    return this.#worker = worker;
  }

  #take({ id, value, error }: Reply): void {
    const answer = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) answer?.resolve(value);
    else answer?.reject(Object.assign(new Error(error.message), error.code && { code: error.code }));
  }

  #end(reason: string): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    const error = this.#cannot(reason);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  #cannot(reason: string): Error {
    return new Error(`Cannot use the thread ${this.#name}: ${reason}`);
  }
}

/** Answers the calls of a `Thread` of this name, when this is its module in its thread; several at a time. */
export function serveThread<Question>(name: string, answer: (question: Question) => Promise<unknown>): void {
  if (!("WorkerGlobalScope" in globalThis) || (self as { name?: string }).name !== name) return;
  self.addEventListener("message", async (event) => {
    const { id, question } = (event as MessageEvent<Call>).data;
    const { postMessage } = self as unknown as Worker;
    try {
      postMessage({ id, value: await answer(question as Question) } satisfies Reply);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : undefined;
      const message = error instanceof Error ? error.message : String(error);
      postMessage({ id, error: { message, ...code !== undefined && { code } } } satisfies Reply);
    }
  });
}
