import { createHash } from "node:crypto";
import type { StoreFile, StoreFiles } from "./store_files.ts";

/** What a body in a file begins with: room for a header, then what was added before the content. */
export interface ArrivalLayout {
  readonly headerSize: number;
  readonly prefixSize: number;
}

/** SHA-256 of a whole body, and of its content: the body without what was added before it. */
export interface BodyHashes {
  readonly sha256: Uint8Array;
  readonly contentHash: Uint8Array;
}

/** A large body on its way into a file. */
export interface Arrival extends StoreFile {
  /**
   * Writes the body's next bytes and hashes them; the first call brings at least all that was added. Leave the bytes,
   * which are in shared memory where a thread is to have them, as they are until it resolves.
   */
  append(bytes: Uint8Array): Promise<void>;
  /** Of all that was appended; to be asked for once. */
  hashes(): Promise<BodyHashes>;
}

/** Makes the files that large bodies arrive in. */
export interface Arrivals extends Disposable {
  /** A new file; throws EEXIST when there is one. */
  create(path: string, layout: ArrivalLayout): Promise<Arrival>;
}

/** Writes and hashes where it is called. */
export function arrivalsOn(files: StoreFiles): Arrivals {
  return {
    create: async (path, layout) => arrivalIn(await files.create(path), layout),
    [Symbol.dispose]: () => {},
  };
}

function arrivalIn(file: StoreFile, { headerSize, prefixSize }: ArrivalLayout): Arrival {
  const [whole, content] = [createHash("sha256"), createHash("sha256")];
  let position = headerSize;
  return {
    ...file,
    async append(bytes) {
      await file.write(bytes, position);
      whole.update(bytes);
      content.update(position === headerSize ? bytes.subarray(prefixSize) : bytes);
      position += bytes.length;
    },
    hashes: () => Promise.resolve({ sha256: whole.digest(), contentHash: content.digest() }),
  };
}
