import bcrypt from "bcryptjs";

/** Whether a hash is one of bcrypt, as older installations have them. */
export function isBcryptHash(hash: string): boolean {
  return /^\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}$/.test(hash);
}

interface Question {
  readonly id: number;
  readonly password: string;
  readonly hash: string;
}

interface Answer {
  readonly id: number;
  readonly matches: boolean;
}

/** A thread of its own that verifies bcrypt hashes, since nothing slow may run beside requests. */
export class BcryptVerifier implements Disposable {
  readonly #waiting = new Map<number, PromiseWithResolvers<boolean>>();
  #worker: Worker | undefined;
  #asked = 0;

  /** Whether the password is the hash's; throws when the thread cannot be started or is ended before it answers. */
  verify(password: string, hash: string): Promise<boolean> {
    const id = ++this.#asked;
    const answer = Promise.withResolvers<boolean>();
    this.#waiting.set(id, answer);
    this.#thread().postMessage({ id, password, hash } satisfies Question);
    return answer.promise;
  }

  [Symbol.dispose](): void {
    this.#end("its thread was ended");
  }

  #thread(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(import.meta.url, { type: "module", name: "bcrypt" });
    worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
      this.#waiting.get(data.id)?.resolve(data.matches);
      this.#waiting.delete(data.id);
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#end(event.message);
    });
    return this.#worker = worker;
  }

  #end(reason: string): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    for (const { reject } of this.#waiting.values()) {
      reject(new Error(`Cannot verify a bcrypt hash: ${reason}`));
    }
    this.#waiting.clear();
  }
}

if (isThread()) {
  self.addEventListener("message", (event) => {
    const { id, password, hash } = (event as MessageEvent<Question>).data;
    const matches = bcrypt.compareSync(password, hash);
    (self as unknown as Worker).postMessage({ id, matches } satisfies Answer);
  });
}

/** This file is its own thread: the same text runs on both sides. */
function isThread(): boolean {
  return "WorkerGlobalScope" in globalThis && (self as { name?: string }).name === "bcrypt";
}
