import { setImmediate } from "node:timers";
import { Crowd } from "./crowd.ts";

/** Something to do at a time, unless it is called off before. */
export interface Alarm {
  readonly at: number;
  readonly ring: () => void;
  readonly place: number;
}

const pending = new Crowd<Alarm>();
let timer: ReturnType<typeof setTimeout> | undefined;
let nextAt = Infinity;

/**
 * Calls `ring` after so many milliseconds, as `setTimeout` does; never when they are infinite. For limits, of which
 * thousands a second are set and hardly any is reached: all of them together have one timer, because Deno keeps timers
 * in a Map (see `Crowd`).
 */
export function setAlarm(ms: number, ring: () => void): Alarm {
  if (Number.isNaN(ms)) throw new RangeError("Cannot set an alarm: its time is no number");
  const alarm = { at: performance.now() + ms, ring, place: -1 };
  alarm.place = pending.enter(alarm);
  if (alarm.at < nextAt) arm(alarm.at);
  return alarm;
}

/** Calls an alarm off; does nothing when it has rung. */
export function clearAlarm(alarm: Alarm): void {
  if (pending.leave(alarm, alarm.place) && pending.size === 0) arm(Infinity);
}

/** The most that `setTimeout` takes. */
const longestMs = 2 ** 31 - 1;

function arm(at: number): void {
  clearTimeout(timer);
  nextAt = at;
  const ms = Math.min(longestMs, Math.max(0, at - performance.now()));
  timer = at === Infinity ? undefined : setTimeout(look, ms);
}

function look(): void {
  const now = performance.now();
  const due: Alarm[] = [];
  let next = Infinity;
  for (const alarm of pending) {
    if (alarm.at <= now) due.push(alarm);
    else next = Math.min(next, alarm.at);
  }
  arm(next);
  ringNext(due.sort((one, other) => other.at - one.at));
}

/** The earliest, which stands last; what it sets off has its turn before the next rings, and may call that off. */
function ringNext(due: Alarm[]): void {
  const alarm = due.pop();
  if (alarm === undefined) return;
  if (pending.leave(alarm, alarm.place)) {
    if (pending.size === 0) arm(Infinity);
    ringOne(alarm);
  }
  if (due.length > 0) setImmediate(ringNext, due);
}

/** What an alarm throws is nobody's to catch, and keeps no other from ringing. */
function ringOne({ ring }: Alarm): void {
  try {
    ring();
  } catch (error) {
    reportError(error);
  }
}
