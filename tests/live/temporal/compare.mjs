// What JavaScript's Temporal says of local times in time zones: JSON from standard input, JSON to standard output.
import { readFileSync } from "node:fs";
import { Temporal } from "@js-temporal/polyfill";

const asked = JSON.parse(readFileSync(0, "utf8"));
const offset = (zone, moment) => Temporal.Instant.from(moment).toZonedDateTimeISO(zone).offsetNanoseconds / 1e9;
const instant = (zone, local) =>
  Temporal.PlainDateTime.from(local).toZonedDateTime(zone, { disambiguation: "compatible" }).toInstant().toString();

const told = asked.map(({ zone, moments, locals }) => ({
  offsets: moments.map((moment) => offset(zone, moment)),
  instants: locals.map((local) => instant(zone, local)),
}));
console.log(JSON.stringify(told));
