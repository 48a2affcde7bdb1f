import { BcryptVerifier, isBcryptHash } from "./bcrypt.ts";
import { hashPassword, verifyPassword } from "./password.ts";

/**
 * How long after it began a login that fails is answered, in ms: longer than verifying any hash of ours takes, and one
 * of bcrypt up to a cost of 12, so that the time does not tell which there is.
 */
export const failAfterMs = 500;

/** Verifies passwords against hashes of ours and of older installations, neither on the event loop. */
export class PasswordVerifier implements Disposable {
  readonly #bcrypt = new BcryptVerifier();

  /** Whether the password is the hash's; false, and after as long, when the hash is none that is known. */
  async verify(password: string, hash: string): Promise<boolean> {
    return isBcryptHash(hash)
      ? await this.#bcrypt.verify(password, hash)
      : await verifyPassword(password, hash);
  }

  [Symbol.dispose](): void {
    this.#bcrypt[Symbol.dispose]();
  }
}

/** A hash of today for the password of an older one; undefined when the hash is of today. */
export async function renewedHash(password: string, hash: string): Promise<string | undefined> {
  return isBcryptHash(hash) ? await hashPassword(password) : undefined;
}
