const leastShiftMs = 60_000;
const mostShiftMs = 10 * 365 * 86_400_000;

/** The time as a service sees it: our clock, put right by the `Date` of its answers where the service complains. */
export class ServiceClock {
  readonly #now: () => Date;
  #offsetMs = 0;

  constructor(now: () => Date) {
    this.#now = now;
  }

  now(): Date {
    return new Date(this.#now().getTime() + this.#offsetMs);
  }

  /** Takes the time over from a `Date` field; true when that moved the clock by a minute or more. */
  correct(dateField: string | null | undefined): boolean {
    const theirs = dateField ? Date.parse(dateField) : Number.NaN;
    if (Number.isNaN(theirs)) return false;
    const shiftMs = theirs - this.now().getTime();
    if (Math.abs(shiftMs) < leastShiftMs || Math.abs(this.#offsetMs + shiftMs) > mostShiftMs) return false;
    this.#offsetMs += shiftMs;
    return true;
  }
}
