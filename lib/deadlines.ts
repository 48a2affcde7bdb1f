import { clearAlarm, setAlarm } from "./alarms.ts";

/** What took longer than its limit. */
export class Late extends Error {
  override readonly name = "Late";
}

/** What the work answers, or throws `Late` when that takes longer; the work itself goes on. */
export function withinTime<T>(limitMs: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const alarm = setAlarm(limitMs, () => reject(new Late(`No answer within ${limitMs} ms`)));
    const ended = () => clearAlarm(alarm);
    work.then(ended, ended);
    work.then(resolve, reject);
  });
}
