import { z } from "zod";
import { type Finding, policy } from "./support/policy";
import { type RolloutStep, rolloutOf, stepsOfPool } from "./support/rollout";

const DEFAULT_MINIMUM = 50;

export const minimumRequests = policy({
  name: "minimum-requests",
  description: "No candidate passes with only a handful of requests.",
  level: "mandatory",
  config: z.strictObject({
    requests: z
      .int()
      .min(1)
      .default(DEFAULT_MINIMUM)
      .describe("Minimum number of the candidate's requests for an sli or soak gate"),
  }),
  judge: {
    Route: (inputs, { config }) => rolloutOf(inputs).steps.flatMap((step) => tooFew(step, config.requests)),
    Pool: (inputs, { config }) => stepsOfPool(inputs).flatMap((step) => tooFew(step, config.requests)),
  },
});

function tooFew({ at, stage }: RolloutStep, minimum: number): Finding[] {
  const gates = stage.gates;
  const counted = gates.flatMap((gate, index) =>
    "minRequests" in gate ? [{ index, requests: gate.minRequests }] : [],
  );
  const low = counted
    .filter(({ requests }) => requests < minimum)
    .map(({ index, requests }) => ({
      at: `${at}.gates[${index}].minRequests`,
      message: `${requests} ${requests === 1 ? "request says" : "requests say"} nothing: ask for at least ${minimum}`,
    }));
  const uncounted = gates.findIndex((gate) => gate.kind === "sli");
  if (uncounted < 0 || counted.length > 0) return low;
  return [
    {
      at: `${at}.gates[${uncounted}]`,
      message: `Prometheus judges ${stage.name} without a minimum of requests: add a gate of the edge's meter beside it, such as { kind: "sli", thresholds: ["5xx < 1 %"], minRequests: 200 }`,
    },
  ];
}
