import type { StorageRef } from "../messages/message.ts";
import { type MessageId, timeOfId } from "../ids.ts";
import type { Body } from "./body.ts";
import { sameBytes } from "./file_body.ts";
import { memoryBody, sha256Of } from "./memory_body.ts";
import { MemoryBudget } from "./memory_budget.ts";
import type { BodyLabel, MessageStore, StoredBody, StoredLabel } from "./message_store.ts";
import { S3Body } from "./s3_body.ts";
import { fullOr, hasCode, isAbsent, isTaken, S3Error, xmlText, xmlTexts } from "./s3_errors.ts";
import { hashIn, labelIn, metadataOf } from "./s3_label.ts";
import { abortStale, partSize, uploadInParts } from "./s3_multipart.ts";
import { faultOfPlace } from "./s3_place.ts";
import { readWhole } from "./whole_body.ts";
import { idOfPath, objectOf, pathOf, refOf } from "./s3_ref.ts";
import { S3Client, type S3ClientOptions } from "./s3_request.ts";

/** What a store in S3 needs to know. */
export interface S3StoreOptions extends Omit<S3ClientOptions, "timeoutMs"> {
  /** How S3 encrypts what it keeps; its own way when not given. */
  readonly encryption?: { readonly kind: "AES256" } | { readonly kind: "aws:kms"; readonly keyId?: string };
  /** Longest wait for an answer; 30 s when not given. */
  readonly timeoutMs?: number;
  /** Memory for bodies on their way; 64 MiB when not given, which is for 128 small ones or 4 large ones at a time. */
  readonly uploadMemory?: number;
}

/** A store that also says whether it can be reached. */
export interface ReachableStore extends MessageStore {
  /** Throws when the bucket does not answer or may not be used; cheap enough for every question about readiness. */
  checkThere(): Promise<void>;
}

const smallBody = 256 << 10;
/** So that no more than so many requests are made for bodies that weigh nothing. */
const leastShare = 512 << 10;
const longestWaitMs = 30_000;
const checkedForMs = 2000;

/** Opens a store in a bucket; throws when its settings cannot be right, and asks nobody anything yet. */
export function openS3Store(options: S3StoreOptions): ReachableStore {
  const fault = faultOfPlace(options.place);
  if (fault !== undefined) throw new Error(`Cannot open the body store: ${fault}`);
  return new S3Store(options);
}

/** Bodies as one object each, which is written once and never changed. */
class S3Store implements ReachableStore {
  readonly #client: S3Client;
  readonly #prefix: string;
  readonly #encryption: Readonly<Record<string, string>>;
  readonly #uploads: MemoryBudget;
  readonly #now: () => Date;
  /** Cleared when a service turns out not to know conditional writes. */
  #isConditional = true;
  #checked: { readonly atMs: number; readonly end: Promise<void> } | undefined;

  constructor(options: S3StoreOptions) {
    this.#client = new S3Client({ ...options, timeoutMs: options.timeoutMs ?? 30_000 });
    this.#prefix = options.place.prefix === "" ? "" : `${options.place.prefix}/`;
    this.#encryption = encryptionHeaders(options.encryption);
    this.#uploads = new MemoryBudget(options.uploadMemory ?? 64 << 20);
    this.#now = options.now;
  }

  checkThere(): Promise<void> {
    const nowMs = this.#now().getTime();
    if (this.#checked === undefined || Math.abs(nowMs - this.#checked.atMs) > checkedForMs) {
      this.#checked = { atMs: nowMs, end: this.#headBucket() };
    }
    return this.#checked.end;
  }

  async put(label: BodyLabel, body: Body): Promise<StorageRef> {
    const path = pathOf(label.id);
    const headers = {
      "content-type": "message/rfc822",
      ...metadataOf(label, body.sha256),
      ...this.#encryption,
    };
    using _share = await this.#uploads.reserve(
      // What is sent is there twice: fetch makes a copy of its own.
      Math.max(2 * Math.min(body.size, partSize), leastShare),
      longestWaitMs,
    );
    try {
      await this.#putOnce(this.#prefix + path, body, headers);
    } catch (error) {
      throw fullOr(error);
    }
    return refOf({ path, size: body.size });
  }

  async get(ref: StorageRef): Promise<Body | undefined> {
    const object = objectOf(ref);
    if (object === undefined) return undefined;
    const key = this.#prefix + object.path;
    return object.size <= smallBody
      ? await this.#getSmall(key, object.size)
      : await this.#getLarge(key, object.size);
  }

  async remove(ref: StorageRef): Promise<void> {
    const object = objectOf(ref);
    if (object === undefined) return;
    try {
      await this.#client.ask({
        what: "remove a body",
        method: "DELETE",
        key: this.#prefix + object.path,
      });
    } catch (error) {
      if (!hasCode(error, "NoSuchKey")) throw error;
    }
  }

  /** Oldest first by the time of the message's id. It also takes back uploads that dead processes left unfinished. */
  async *list(olderThan: Date): AsyncGenerator<StoredBody> {
    await this.#clearUploads(olderThan);
    for await (const { key, size, changedMs } of this.#objects()) {
      const path = key.slice(this.#prefix.length);
      const id = idOfPath(path);
      if (id === undefined) continue;
      // Keys are in the order of time, so what follows is younger still.
      if (timeOfId(id) >= olderThan.getTime()) return;
      if (!(changedMs < olderThan.getTime())) continue;
      yield { id, ref: refOf({ path, size }), label: () => this.#labelAt(key, id) };
    }
  }

  /** Breaks off what is under way. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }

  async #headBucket(): Promise<void> {
    await this.#client.ask({ what: "reach the bucket", method: "HEAD" });
  }

  /** A condition that a service does not know is replaced by looking: nobody else writes a body at its key. */
  async #putOnce(key: string, body: Body, headers: Readonly<Record<string, string>>): Promise<void> {
    if (!this.#isConditional && await this.#isThere(key, body)) return;
    try {
      await this.#write(key, body, headers);
    } catch (error) {
      if (isTaken(error)) return await this.#requireSame(key, body, error);
      // Some that know no condition say so without a word of S3's.
      if (this.#isConditional && hasCode(error, "NotImplemented", "HTTP 501")) this.#isConditional = false;
      else if (!hasCode(error, "ConditionalRequestConflict", "NoSuchUpload")) throw error;
      if (await this.#isThere(key, body, error)) return;
      await this.#write(key, body, headers).catch(async (failure) => {
        if (!isTaken(failure)) throw failure;
        await this.#requireSame(key, body, failure);
      });
    }
  }

  async #write(key: string, body: Body, headers: Readonly<Record<string, string>>): Promise<void> {
    const condition: Readonly<Record<string, string>> = this.#isConditional ? { "if-none-match": "*" } : {};
    if (body.size > partSize) {
      return await uploadInParts({ client: this.#client, key, body, headers, condition });
    }
    using bytes = await readWhole(body);
    await this.#client.ask({
      what: "store a body",
      method: "PUT",
      key,
      headers: { ...headers, ...condition, "x-amz-checksum-sha256": body.sha256.toBase64() },
      body: bytes.all,
      // S3 compares it with what arrives, so it need not be computed once more.
      bodyHash: body.sha256.toHex(),
    });
  }

  /** What was there already is what was to be put there, such as by a try whose answer was lost. */
  async #requireSame(key: string, body: Body, cause: unknown): Promise<void> {
    if (await this.#isThere(key, body, cause)) return;
    throw new Error("Cannot store a body: another one lay at its key in S3", { cause });
  }

  /** Whether a body is there already; throws when it is another one. */
  async #isThere(key: string, { size, sha256 }: Body, cause?: unknown): Promise<boolean> {
    const headers = await this.#head(key);
    if (headers === undefined) return false;
    const hash = hashIn(headers);
    const isSame = hash !== undefined && Number(headers.get("content-length")) === size &&
      sameBytes(hash, sha256);
    if (!isSame) throw new Error("Cannot store a body: another one lies at its key in S3", { cause });
    return true;
  }

  async #head(key: string): Promise<Headers | undefined> {
    try {
      return (await this.#client.ask({ what: "look for a body", method: "HEAD", key })).headers;
    } catch (error) {
      return await this.#absentOr(error);
    }
  }

  /** Undefined for an object that is not there; an answer to HEAD says the same of a bucket that is not. */
  async #absentOr(error: unknown): Promise<undefined> {
    if (!isAbsent(error)) throw error;
    if (!hasCode(error, "NoSuchKey")) await this.#headBucket();
  }

  async #getSmall(key: string, size: number): Promise<Body | undefined> {
    const opened = await this.#open(key);
    if (opened === undefined) return undefined;
    const { headers, body } = opened;
    const bytes = new Uint8Array(size);
    let at = 0;
    try {
      for (let chunk = await body.read(); chunk !== undefined; chunk = await body.read()) {
        if (at + chunk.length > size) return undefined;
        bytes.set(chunk, at);
        at += chunk.length;
      }
    } catch (cause) {
      throw new S3Error("read a body", { status: 0, code: "connection lost" }, { cause });
    } finally {
      await body.cancel();
    }
    const hash = hashIn(headers);
    return at === size && hash !== undefined && sameBytes(sha256Of(bytes), hash)
      ? memoryBody(bytes, hash)
      : undefined;
  }

  async #open(key: string) {
    try {
      return await this.#client.open({ what: "read a body", method: "GET", key });
    } catch (error) {
      return await this.#absentOr(error);
    }
  }

  async #getLarge(key: string, size: number): Promise<Body | undefined> {
    const headers = await this.#head(key);
    if (headers === undefined || Number(headers.get("content-length")) !== size) return undefined;
    const hash = hashIn(headers);
    return hash && new S3Body(this.#client, key, size, hash);
  }

  async #labelAt(key: string, id: MessageId): Promise<StoredLabel | undefined> {
    const headers = await this.#head(key);
    return headers && labelIn(headers, id);
  }

  async #clearUploads(before: Date): Promise<void> {
    try {
      await abortStale(this.#client, this.#prefix, before);
    } catch (error) {
      // A service without such a list clears them away itself, and one that forbids it still has bodies to list.
      if (!hasCode(error, "NotImplemented", "AccessDenied", "MethodNotAllowed")) throw error;
    }
  }

  async *#objects(): AsyncGenerator<{ key: string; size: number; changedMs: number }> {
    for (let token: string | undefined = "";;) {
      const { text } = await this.#client.ask({
        what: "list bodies",
        method: "GET",
        query: {
          "list-type": "2",
          "max-keys": "1000",
          ...this.#prefix !== "" && { prefix: this.#prefix },
          ...token !== "" && { "continuation-token": token },
        },
      });
      if (!text.includes("ListBucketResult")) {
        throw new S3Error("list bodies", { status: 200, code: "another answer than was expected" });
      }
      for (const item of xmlTexts(text, "Contents")) {
        const [key, size, changed] = ["Key", "Size", "LastModified"].map((name) => xmlText(item, name) ?? "");
        if (key?.startsWith(this.#prefix)) {
          yield { key, size: Number(size), changedMs: Date.parse(changed ?? "") };
        }
      }
      token = xmlText(text, "NextContinuationToken");
      if (token === undefined || token === "") return;
    }
  }
}

function encryptionHeaders(encryption: S3StoreOptions["encryption"]): Record<string, string> {
  if (encryption === undefined) return {};
  const headers = { "x-amz-server-side-encryption": encryption.kind };
  if (encryption.kind === "AES256" || encryption.keyId === undefined) return headers;
  return { ...headers, "x-amz-server-side-encryption-aws-kms-key-id": encryption.keyId };
}
