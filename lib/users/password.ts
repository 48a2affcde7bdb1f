import { Buffer } from "node:buffer";
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";

/** What a hash costs: 32 MiB and about 0.1 s of one core, off the event loop. */
const cost = { log2: 15, r: 8, p: 1 };
const keyBytes = 32;
const saltBytes = 16;

/** Hashes a password with scrypt (RFC 7914): `$scrypt$ln=15,r=8,p=1$salt$key`, salt and key in base64. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes);
  const key = await derive(password, salt, cost, keyBytes);
  return `$scrypt$ln=${cost.log2},r=${cost.r},p=${cost.p}$${encode(salt)}$${encode(key)}`;
}

/** Whether a password is the one of a hash; false when the hash is none of ours. Takes as long either way. */
export async function verifyPassword(password: string, hash: string): Promise<boolean> {
  const parsed = parse(hash) ?? decoy;
  const key = await derive(password, parsed.salt, parsed, parsed.key.length);
  return timingSafeEqual(key, parsed.key) && parsed !== decoy;
}

interface Cost {
  readonly log2: number;
  readonly r: number;
  readonly p: number;
}

interface ParsedHash extends Cost {
  readonly salt: Buffer;
  readonly key: Buffer;
}

/** Stands in for a hash that is missing or cannot be read, so that nobody learns it from the time taken. */
const decoy: ParsedHash = { ...cost, salt: Buffer.alloc(saltBytes), key: Buffer.alloc(keyBytes) };

const form =
  /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/=]{8,128})\$([A-Za-z0-9+/=]{16,128})$/;

function parse(hash: string): ParsedHash | undefined {
  const [, log2, r, p, salt, key] = form.exec(hash) ?? [];
  if (salt === undefined || key === undefined) return undefined;
  const parsed = { log2: Number(log2), r: Number(r), p: Number(p) };
  // A hash that would cost more than 256 MiB is not one of ours.
  if (parsed.log2 < 10 || parsed.log2 > 20 || 128 * parsed.r * 2 ** parsed.log2 > 2 ** 28) return undefined;
  return { ...parsed, salt: Buffer.from(salt, "base64"), key: Buffer.from(key, "base64") };
}

function derive(password: string, salt: Buffer, { log2, r, p }: Cost, length: number): Promise<Buffer> {
  const options = { N: 2 ** log2, r, p, maxmem: 2 ** 29 };
  return new Promise((resolve, reject) => {
    scrypt(
      password.normalize("NFC"),
      salt,
      length,
      options,
      (error, key) => error ? reject(error) : resolve(key),
    );
  });
}

function encode(bytes: Buffer): string {
  return bytes.toString("base64");
}
