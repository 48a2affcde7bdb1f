const secretBytes = 32;
const prefixLength = 8;
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const shape = /^sp_[0-9A-Za-z]{8}_[A-Za-z0-9_-]{43}$/;

/** A new API key: the key itself is shown once, the other two are stored. */
export interface IssuedApiKey {
  /** `sp_<prefix>_<secret>`, 256 random bits; never stored. */
  readonly key: string;
  /** Names the key to people; not secret. */
  readonly prefix: string;
  /** SHA-256 of the key. */
  readonly hash: Uint8Array<ArrayBuffer>;
}

/** Makes an API key from fresh random bytes. */
export async function issueApiKey(): Promise<IssuedApiKey> {
  const prefix = randomPrefix();
  const secret = crypto.getRandomValues(new Uint8Array(secretBytes));
  const key = `sp_${prefix}_${secret.toBase64({ alphabet: "base64url", omitPadding: true })}`;
  return { key, prefix, hash: await hashApiKey(key) };
}

/** Whether a text has the shape of an API key, so that it is looked up by its hash (ruling 3.17). */
export function looksLikeApiKey(text: string): boolean {
  return shape.test(text);
}

const keysWithin = /(sp_[0-9a-z]{8})_[0-9a-z_-]{20,}/gi;

/** A text that somebody else wrote, with the secret of every API key in it, whole or cut, left out. */
export function withoutKeys(text: string): string {
  return text.replace(keysWithin, "$1_…");
}

/** SHA-256 of a key. Enough without salt or cost: a key has 256 random bits, so no list of guesses helps. */
export async function hashApiKey(key: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
}

/** Only bytes below 248 are used, the largest multiple of 62, so that every letter is equally likely. */
function randomPrefix(): string {
  let prefix = "";
  while (prefix.length < prefixLength) {
    for (const byte of crypto.getRandomValues(new Uint8Array(prefixLength))) {
      if (byte < 248 && prefix.length < prefixLength) prefix += alphabet[byte % alphabet.length];
    }
  }
  return prefix;
}
