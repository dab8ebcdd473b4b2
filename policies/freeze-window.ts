import type { z } from "zod";
import { type Freeze, freezeAt, freezeCalendar } from "../src/model/policy/freeze";
import { readOverride } from "../src/model/policy/override";
import { type Duration, duration } from "../src/model/types/duration";
import { quoteValue } from "../src/model/types/messages";
import type { Judged, Unsure } from "./support/judged";
import { type Circumstances, type Finding, policy } from "./support/policy";

/** Stack config that lifts a freeze: an object with reason, who and until. */
const OVERRIDE_KEY = "sluice:freezeOverride";
const DEFAULT_LONGEST: Duration = "7 days";

const config = freezeCalendar.extend({
  longestOverride: duration({ min: "1 minute" })
    .default(DEFAULT_LONGEST)
    .describe(`How far away the end of a ${OVERRIDE_KEY} may be`),
});
type Config = z.output<typeof config>;

export const freezeWindow = policy({
  name: "freeze-window",
  description: "Nothing is promoted during a freeze; going back always works.",
  level: "mandatory",
  config,
  judge: {
    Pool({ change }, circumstances) {
      if (change?.kind === "promotion") return judge(forward(change), circumstances);
      return change?.kind === "restart" ? judge(`a restart of release ${change.to}`, circumstances) : [];
    },
    Migrations({ change }, circumstances) {
      return change?.kind === "promotion" ? judge(`migration ${change.to}`, circumstances) : [];
    },
    Route: (route, circumstances) => (route.change?.kind === "promotion" ? judge(traffic(route), circumstances) : []),
  },
});

/** The part of a pool's change that goes forward. */
function forward({ from, to, candidate }: NonNullable<Unsure<Judged["Pool"]>["change"]>): string {
  return from === to ? `moving candidate ${candidate?.release} to ${candidate?.to}` : `release ${to}`;
}

/** The part of a route's change that goes forward. */
function traffic({ change, mirror }: Unsure<Judged["Route"]>): string {
  const { stable, stage, mirrored } = change ?? {};
  if (stable?.from !== "" && stable?.from !== stable?.to) return `the move to ${stable?.to}`;
  if (change?.from !== change?.to) return `the way to ${change?.to}`;
  return stage?.from === stage?.to
    ? `mirroring ${mirrored?.to} of the requests to ${mirror?.to}`
    : `moving to stage ${stage?.to}`;
}

function judge(what: string, { config, stack, now }: Circumstances<Config>): Finding[] {
  const freeze = freezeAt(config, now);
  const given = stack.config[OVERRIDE_KEY];
  const override = given === undefined ? undefined : readOverride(given, now, config.longestOverride);
  if (typeof override === "object" && freeze !== undefined)
    return [
      {
        message: `${what} proceeds although ${named(freeze)} lasts until ${freeze.until}: ${override.who} allowed it until ${override.until}, since ${override.reason}`,
        advisory: true,
      },
    ];
  const broken: Finding[] =
    typeof override === "string" ? [{ message: `${OVERRIDE_KEY} ${override}`, advisory: freeze === undefined }] : [];
  if (freeze === undefined) return broken;
  const remedy = `wait, or set ${OVERRIDE_KEY} in the stack's config with reason, who and until`;
  return [
    { message: `${what} is frozen by ${named(freeze)} until ${freeze.until} (${freeze.timeZone}): ${remedy}` },
    ...broken,
  ];
}

function named({ name }: Freeze): string {
  return quoteValue(name);
}
