import assert from "node:assert/strict";
import test from "node:test";
import { freezeAt, freezeCalendar } from "../../../src/model/policy/freeze";
import { endOf, readOverride } from "../../../src/model/policy/override";

const berlin = freezeCalendar.parse({
  timeZone: "Europe/Berlin",
  calendar: [
    { name: "holidays", from: "2026-12-24", to: "2026-12-26" },
    { name: "game day", from: "2026-06-10T18:00", to: "2026-06-10T23:30" },
  ],
  weekly: [
    { days: ["friday"], from: "15:00" },
    { name: "weekend", days: ["saturday", "sunday"] },
  ],
});
const at = (time: string) => freezeAt(berlin, new Date(time));

test("a freeze holds from its first to its last minute, in its own time zone", () => {
  const cases: [string, string | undefined][] = [
    // The 24th begins in Berlin at 23:00 UTC.
    ["2026-12-23T22:59:59Z", undefined],
    ["2026-12-23T23:00:00Z", "holidays"],
    ["2026-12-26T12:00:00Z", "weekend"],
    ["2026-06-10T15:59:59Z", undefined],
    ["2026-06-10T16:00:00Z", "game day"],
    ["2026-06-10T21:29:59Z", "game day"],
    ["2026-06-10T21:30:00Z", undefined],
  ];
  for (const [time, name] of cases) assert.equal(at(time)?.name, name, time);
});

test("Friday at 15:00 is that in summer and in winter, and freezes that follow each other end as one", () => {
  assert.equal(at("2026-06-12T12:59:59Z"), undefined);
  assert.deepEqual(at("2026-06-12T13:00:00Z"), {
    name: "not on friday after 15:00",
    until: "2026-06-15 00:00",
    timeZone: "Europe/Berlin",
  });
  assert.equal(at("2026-11-20T13:59:59Z"), undefined);
  assert.equal(at("2026-11-20T14:00:00Z")?.until, "2026-11-23 00:00");
  // Midnight between Sunday and Monday, Berlin.
  assert.equal(at("2026-06-14T21:59:59Z")?.name, "weekend");
  assert.equal(at("2026-06-14T22:00:00Z"), undefined);
});

test("the night of a clock change has no hole, and does not freeze more than it says", () => {
  const night = freezeCalendar.parse({
    timeZone: "Europe/Berlin",
    calendar: [
      // 02:30 does not exist on this day.
      { name: "spring", from: "2026-03-29T02:30", to: "2026-03-29T04:00" },
      // 02:00 to 03:00 comes twice.
      { name: "autumn", from: "2026-10-25T02:30", to: "2026-10-25T03:00" },
    ],
  });
  const named = (time: string) => freezeAt(night, new Date(time))?.name;
  assert.equal(named("2026-03-29T00:59:00Z"), undefined);
  assert.equal(named("2026-03-29T01:00:00Z"), "spring");
  assert.equal(named("2026-03-29T02:00:00Z"), undefined);
  assert.equal(named("2026-10-25T00:30:00Z"), "autumn");
  assert.equal(named("2026-10-25T01:00:00Z"), undefined);
  assert.equal(named("2026-10-25T01:30:00Z"), "autumn");
  assert.equal(named("2026-10-25T02:00:00Z"), undefined);
});

test("a calendar without an end is answered, too", () => {
  const always = freezeCalendar.parse({
    weekly: [{ days: ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] }],
  });
  assert.equal(freezeAt(always, new Date("2026-06-12T13:00:00Z"))?.name.startsWith("not on monday"), true);
});

test("a bad calendar is refused with the place and the remedy", () => {
  const problemsOf = (calendar: object) =>
    (freezeCalendar.safeParse(calendar).error?.issues ?? []).map(
      ({ path, message }) => `${path.join(".")}: ${message}`,
    );
  assert.deepEqual(problemsOf({ timeZone: "Berlin" }), [
    'timeZone: "Berlin" is not a time zone: use a name such as "Europe/Berlin" or "UTC"',
  ]);
  assert.deepEqual(problemsOf({ calendar: [{ name: "x", from: "2026-02-30", to: "2026-03-01" }] }), [
    'calendar.0.from: "2026-02-30" is not a day or a time: write it such as "2026-12-24" or "2026-12-24T15:00"',
  ]);
  assert.deepEqual(problemsOf({ calendar: [{ name: "x", from: "2026-03-02", to: "2026-03-01" }] }), [
    "calendar.0.to: ends before it begins at 2026-03-02: swap the two",
  ]);
  assert.deepEqual(problemsOf({ weekly: [{ days: ["friday"], from: "22:00", to: "06:00" }] }), [
    "weekly.0.to: is not after from: write a day for each side of midnight",
  ]);
});

test("an override says why, by whom and until when; an expired, endless or nameless one does not count", () => {
  const now = new Date("2026-06-12T13:00:00Z");
  const read = (override: object | string) =>
    readOverride(typeof override === "string" ? override : JSON.stringify(override), now, "7 days");
  const good = { reason: "outage", who: "ana", until: "2026-06-12" };
  assert.deepEqual(read(good), good);
  assert.equal(endOf(good), Date.parse("2026-06-13T00:00Z"));
  assert.deepEqual(read({ ...good, until: "2026-06-12T15:30+02:00" }), { ...good, until: "2026-06-12T15:30+02:00" });
  assert.equal(
    read({ ...good, until: "2026-06-12T15:00+02:00" }),
    "has expired (until 2026-06-12T15:00+02:00): remove it",
  );
  assert.equal(read({ ...good, until: "2026-06-11" }), "has expired (until 2026-06-11): remove it");
  assert.equal(read({ ...good, until: "2027-01-01" }), "until 2027-01-01 is further away than 168 h: end it earlier");
  assert.equal(
    read({ reason: "outage", who: " " }),
    'who is empty: give a text; until nothing is not a day or a time with its offset: write it such as "2026-12-24" or "2026-12-24T18:00+01:00"',
  );
  assert.equal(read("yes"), "is not an object: give it reason, who and until");
});
