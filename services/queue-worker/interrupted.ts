/**
 * A delivery that does not go on: another process has its claim, its lease is about to end, this process stops
 * reserving (`draining`) or stops for good.
 */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  constructor(readonly why: "claim_lost" | "lease_short" | "draining" | "stopped") {
    super(`Cannot go on with a delivery: ${why}`);
  }
}
