import assert from "node:assert/strict";
import { isZone, localTimeText, windowTest } from "./time_window.ts";

Deno.test("windowTest() counts its first minute and not its last", () => {
  const isIn = windowTest({ zone: "UTC", from: "08:00", to: "18:00" });
  const at = (time: string) => isIn(new Date(`2026-01-05T${time}Z`));
  assert.deepEqual([at("07:59:59"), at("08:00:00"), at("17:59:59"), at("18:00:00")], [
    false,
    true,
    true,
    false,
  ]);
});

Deno.test("windowTest() lets a window go on after midnight, on the day after the one it began on", () => {
  const isIn = windowTest({ zone: "UTC", days: ["fri"], from: "22:00", to: "06:00" });
  assert.ok(isIn(new Date("2026-01-02T23:00:00Z"))); // Friday
  assert.ok(isIn(new Date("2026-01-03T05:59:00Z"))); // Saturday
  assert.ok(!isIn(new Date("2026-01-02T05:00:00Z")));
  assert.ok(!isIn(new Date("2026-01-03T22:30:00Z")));
});

Deno.test("windowTest() goes by the clocks of its zone, summer time too", () => {
  const isIn = windowTest({ zone: "America/New_York", from: "09:00", to: "10:00" });
  assert.ok(isIn(new Date("2026-01-05T14:30:00Z")));
  assert.ok(isIn(new Date("2026-07-06T13:30:00Z")));
  assert.ok(!isIn(new Date("2026-07-06T14:30:00Z")));
  assert.equal(localTimeText("America/New_York", new Date("2026-07-06T03:05:00Z")), "sun 23:05");
});

Deno.test("windowTest() of days alone is those days from midnight to midnight", () => {
  const isIn = windowTest({ zone: "Asia/Tokyo", days: ["mon"] });
  assert.ok(isIn(new Date("2026-01-04T15:00:00Z")));
  assert.ok(!isIn(new Date("2026-01-05T15:00:00Z")));
});

Deno.test("isZone() knows the zones of the IANA database and no others", () => {
  assert.deepEqual(["Europe/Berlin", "UTC", "Mars/Olympus", "+02:00", ""].map(isZone), [
    true,
    true,
    false,
    false,
    false,
  ]);
});
