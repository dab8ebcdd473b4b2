import { z } from "zod";
import { type Duration, duration, milliseconds } from "../src/model/types/duration";
import { type Finding, policy } from "./support/policy";
import { isProduction, production } from "./support/production";
import { type RolloutStep, rolloutOf, stepsOfPool } from "./support/rollout";

const DEFAULT_MINIMUM: Duration = "5 minutes";

export const sliWindow = policy({
  name: "sli-window",
  description: "On a production stack, service levels are watched for long enough to mean something.",
  level: "mandatory",
  config: z.strictObject({
    minimum: duration({ min: "1 second" }).default(DEFAULT_MINIMUM).describe("Shortest window of an sli gate"),
    production,
  }),
  judge: {
    Route(inputs, { config, stack }) {
      if (!isProduction(stack, config.production)) return [];
      return rolloutOf(inputs).steps.flatMap((step) => short(step, config.minimum));
    },
    Pool(inputs, { config, stack }) {
      if (!isProduction(stack, config.production)) return [];
      return stepsOfPool(inputs).flatMap((step) => short(step, config.minimum));
    },
  },
});

function short({ at, stage }: RolloutStep, minimum: Duration): Finding[] {
  const tooShort = (window: Duration) => milliseconds(window) < milliseconds(minimum);
  const message = (window: Duration) =>
    `${window} of watching says little about production: make it at least ${minimum}`;
  const gates = stage.gates.map((gate, index) => ({ gate, index })).filter(({ gate }) => gate.kind === "sli");
  const own = gates.flatMap(({ gate, index }) =>
    gate.window !== undefined && tooShort(gate.window)
      ? [{ at: `${at}.gates[${index}].window`, message: message(gate.window) }]
      : [],
  );
  const inherits = gates.some(({ gate }) => gate.window === undefined);
  return inherits && tooShort(stage.window) ? [...own, { at: `${at}.window`, message: message(stage.window) }] : own;
}
