import type { Body } from "./body.ts";
import type { BodyLabel } from "./message_store.ts";

/** Where bodies go while they arrive. */
export interface SpoolOptions {
  /** On the same file system as the local store: see `spoolDirectory`. */
  readonly directory: string;
  /** Bytes a body may have in memory before it goes to a file; 256 KiB when not given. */
  readonly memoryLimit?: number;
}

/** Takes one body while it arrives and hashes it on the way; ends with `finish` or `abort`. */
export interface BodyWriter {
  /**
   * Undefined when the chunk was taken (copied) at once; otherwise wait for the promise before writing again,
   * and leave the chunk as it is until then. Rejects with `Refusal("body_store_full")` when the disk is full.
   */
  write(chunk: Uint8Array): Promise<void> | undefined;
  /** The whole body; whoever gets it disposes it, which removes a spool file that no store has adopted. */
  finish(): Promise<Body>;
  /** Drops what was written; may be called at any time, also after a failure. */
  abort(): Promise<void>;
}

/** Receives bodies: small ones in memory, large ones straight into the file they may stay in (ruling 3.2). */
export interface Spool extends AsyncDisposable {
  /** The label only reserves the room of a header, so that a local store can adopt the file as it is. */
  begin(label: BodyLabel): BodyWriter;
}
