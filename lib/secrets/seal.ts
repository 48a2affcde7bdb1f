/** A key that seals, named so that what it sealed can be opened after another took its place. */
export interface SealingKey {
  readonly id: string;
  readonly key: CryptoKey;
}

/** The first key seals, all open. */
export type SealingKeys = readonly [SealingKey, ...SealingKey[]];

/** A sealed text: the id of its key, and nonce, ciphertext and tag in one. */
export interface Sealed {
  readonly keyId: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** No key at hand opens it: the key that is named was not given, or the bytes or their owner are others. */
export class SealError extends Error {
  override readonly name = "SealError";
  constructor(readonly reason: "unknown_key" | "damaged", message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

const nonceBytes = 12;
const tagBytes = 16;
const maxKeys = 20;

/** What the text of `secrets.keys` holds, before the keys are imported. */
export interface KeyText {
  readonly id: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Reads `id:base64,id:base64`, each key 32 bytes. Throws a sentence that shows no key. */
export function readKeys(text: string): readonly KeyText[] {
  const items = text.split(",").map((item) => item.trim()).filter((item) => item !== "");
  if (items.length > maxKeys) throw new Error(`Cannot read the keys: there are more than ${maxKeys}`);
  const keys = items.map((item, index) => readKey(item, index + 1));
  const ids = new Set(keys.map(({ id }) => id));
  if (ids.size < keys.length) throw new Error("Cannot read the keys: an id is there twice");
  return keys;
}

function readKey(item: string, position: number): KeyText {
  const match = /^([A-Za-z0-9_.-]{1,64}):(\S+)$/.exec(item);
  const [, id, encoded] = match ?? [];
  if (id === undefined || encoded === undefined) {
    throw new Error(`Cannot read key ${position}: expected id:base64`);
  }
  try {
    const bytes = Uint8Array.fromBase64(encoded);
    if (bytes.length === 32) return { id, bytes };
  } catch (cause) {
    throw new Error(`Cannot read key "${id}": it is not base64`, { cause });
  }
  throw new Error(`Cannot read key "${id}": expected 32 bytes`);
}

/** Imports the keys of `secrets.keys`; undefined when there are none. Throws as `readKeys` does. */
export async function parseKeys(text: string): Promise<SealingKeys | undefined> {
  const [first, ...others] = await Promise.all(
    readKeys(text).map(async ({ id, bytes }) => ({
      id,
      key: await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]),
    })),
  );
  return first && [first, ...others];
}

/** A new key in the form of `secrets.keys`. */
export function newKeyText(id: string): string {
  return `${id}:${crypto.getRandomValues(new Uint8Array(32)).toBase64()}`;
}

/** Names the row a provider's secrets belong to, so that they open nowhere else (ruling 3.16). */
export function providerOwner(group: string, provider: string): string {
  return `esp_providers|${group}|${provider}`;
}

/** Seals a text for its owner with the first key: AES-256-GCM, a random nonce of 96 bits. */
export async function seal(text: string, owner: string, keys: SealingKeys): Promise<Sealed> {
  const [{ id, key }] = keys;
  const iv = crypto.getRandomValues(new Uint8Array(nonceBytes));
  const additionalData = new TextEncoder().encode(owner);
  const sealed = await crypto.subtle.encrypt(
    { name: "AES-GCM", iv, additionalData, tagLength: tagBytes * 8 },
    key,
    new TextEncoder().encode(text),
  );
  const bytes = new Uint8Array(nonceBytes + sealed.byteLength);
  bytes.set(iv);
  bytes.set(new Uint8Array(sealed), nonceBytes);
  return { keyId: id, bytes };
}

/** Opens what was sealed for the same owner; throws `SealError` when its key is missing or it was changed. */
export async function unseal(
  { keyId, bytes }: { readonly keyId: string; readonly bytes: Uint8Array },
  owner: string,
  keys: readonly SealingKey[],
): Promise<string> {
  const key = keys.find(({ id }) => id === keyId)?.key;
  if (key === undefined) {
    throw new SealError("unknown_key", `Cannot open a sealed value: key "${keyId}" is unknown`);
  }
  if (bytes.length < nonceBytes + tagBytes) {
    throw new SealError("damaged", `Cannot open a sealed value: it has ${bytes.length} bytes`);
  }
  const whole = Uint8Array.from(bytes);
  const iv = whole.subarray(0, nonceBytes);
  const additionalData = new TextEncoder().encode(owner);
  try {
    const text = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv, additionalData, tagLength: tagBytes * 8 },
      key,
      whole.subarray(nonceBytes),
    );
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text);
  } catch (cause) {
    throw new SealError("damaged", "Cannot open a sealed value: it was changed or belongs to another row", {
      cause,
    });
  }
}
