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
 * Calls `ring` after so many milliseconds, as `setTimeout` does. For limits, of which thousands a second are set and
 * hardly any is reached: all of them together have one timer, because Deno keeps timers in a Map (see `Crowd`).
 */
export function setAlarm(ms: number, ring: () => void): Alarm {
  const alarm = { at: performance.now() + ms, ring, place: -1 };
  alarm.place = pending.enter(alarm);
  if (alarm.at < nextAt) arm(alarm.at);
  return alarm;
}

/** Calls an alarm off; does nothing when it has rung. */
export function clearAlarm(alarm: Alarm): void {
  if (pending.leave(alarm, alarm.place) && pending.size === 0) arm(Infinity);
}

function arm(at: number): void {
  clearTimeout(timer);
  nextAt = at;
  timer = at === Infinity ? undefined : setTimeout(look, Math.max(0, at - performance.now()));
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
  for (const alarm of due) if (pending.leave(alarm, alarm.place)) ringOf(alarm);
}

/** What an alarm throws is nobody's to catch, and keeps no other from ringing. */
function ringOf({ ring }: Alarm): void {
  try {
    ring();
  } catch (error) {
    reportError(error);
  }
}
