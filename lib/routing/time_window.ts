/** Hours of some days of the week, by the clocks of a place. */
export interface TimeWindow {
  /** A zone of the IANA database, e.g. `Europe/Berlin`. */
  readonly zone: string;
  /** Those on which the window begins; absent for all. */
  readonly days?: readonly Weekday[] | undefined;
  /** `HH:MM`; midnight when absent. A window that begins later than it ends goes on after midnight. */
  readonly from?: string | undefined;
  /** `HH:MM`, the first minute that is out of it; the end of the day when absent. */
  readonly to?: string | undefined;
}

/** The days of the week, as windows name them. */
export const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

/** One of them. */
export type Weekday = (typeof weekdays)[number];

const minutesOfDay = 24 * 60;

/** Whether a zone is one that this program knows. */
export function isZone(zone: string): boolean {
  try {
    return /^[A-Za-z]/.test(zone) && clockOf(zone) !== undefined;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** Makes the function that says whether a moment lies in the window; throws `RangeError` for an unknown zone. */
export function windowTest({ zone, days, from = "00:00", to = "24:00" }: TimeWindow): (now: Date) => boolean {
  const begins = minuteOf(from);
  const ends = minuteOf(to);
  const localTime = clockOf(zone);
  const isOn = (day: number) => {
    const name = weekdays[(day + 7) % 7];
    return days === undefined || (name !== undefined && days.includes(name));
  };
  return (now) => {
    const { day, minute } = localTime(now);
    if (begins < ends) return isOn(day) && minute >= begins && minute < ends;
    return (isOn(day) && minute >= begins) || (isOn(day - 1) && minute < ends);
  };
}

/** The local time of a moment in a window's zone, for people: `mon 08:30`. */
export function localTimeText(zone: string, now: Date): string {
  const { day, minute } = clockOf(zone)(now);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${weekdays[day]} ${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}

interface LocalTime {
  readonly day: number;
  readonly minute: number;
}

type Clock = (now: Date) => LocalTime;

// Making one takes longer than everything else about a rule.
const clocks = new Map<string, Clock>();
const mostClocks = 1000;

function clockOf(zone: string): Clock {
  const known = clocks.get(zone);
  if (known !== undefined) return known;
  const clock = newClock(zone);
  if (clocks.size >= mostClocks) clocks.clear();
  clocks.set(zone, clock);
  return clock;
}

function newClock(zone: string): Clock {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  let asked: number | undefined;
  let told: LocalTime = { day: 0, minute: 0 };
  return (now) => {
    const minute = Math.floor(now.getTime() / 60_000);
    if (minute !== asked) told = localTime(format, now);
    asked = minute;
    return told;
  };
}

function localTime(format: Intl.DateTimeFormat, now: Date): LocalTime {
  const parts = new Map(format.formatToParts(now).map(({ type, value }) => [type, value]));
  const day = weekdays.findIndex((name) => name === parts.get("weekday")?.toLowerCase());
  return { day, minute: 60 * Number(parts.get("hour")) + Number(parts.get("minute")) };
}

function minuteOf(time: string): number {
  const [hour, minute] = time.split(":").map(Number);
  return Math.min(minutesOfDay, 60 * (hour ?? 0) + (minute ?? 0));
}
