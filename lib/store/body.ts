/** A message's bytes: in memory when small, else in a spool file that is already on disk (ruling 3.2). */
export interface Body extends AsyncDisposable {
  readonly size: number;
  readonly sha256: Uint8Array;
  /** All bytes at once; for large bodies reserve the memory first. Throws `DamagedBody` as `stream` does. */
  bytes(): Promise<Uint8Array>;
  /** A new stream from the first byte, as often as it is asked for; fails with `DamagedBody` before its last chunk. */
  stream(): ReadableStream<Uint8Array>;
}
