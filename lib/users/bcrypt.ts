import bcrypt from "bcryptjs";
import { serveThread, Thread } from "../thread.ts";

/** Whether a hash is one of bcrypt, as older installations have them. */
export function isBcryptHash(hash: string): boolean {
  return /^\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}$/.test(hash);
}

interface Question {
  readonly password: string;
  readonly hash: string;
}

const name = "bcrypt";

/** A thread of its own that verifies bcrypt hashes, since nothing slow may run beside requests. */
export class BcryptVerifier implements Disposable {
  readonly #thread = new Thread<Question>(import.meta.url, name);

  /** Whether the password is the hash's; throws when the thread cannot be started or is ended before it answers. */
  async verify(password: string, hash: string): Promise<boolean> {
    return await this.#thread.call({ password, hash }) === true;
  }

  [Symbol.dispose](): void {
    this.#thread[Symbol.dispose]();
  }
}

serveThread<Question>(name, ({ password, hash }) => {
  return Promise.resolve(bcrypt.compareSync(password, hash));
});
