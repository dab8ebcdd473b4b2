import { z } from "zod";
import { type Duration, duration, milliseconds } from "../src/model/types/duration";
import { type Finding, policy } from "./support/policy";

const DEFAULT_AGE: Duration = "1 day";

export const rollbackTarget = policy({
  name: "rollback-target",
  description: "Old releases are kept for a rollback.",
  level: "mandatory",
  config: z.strictObject({
    count: z.int().min(1).max(100).default(1).describe("How many old releases each pool must keep"),
    age: duration().default(DEFAULT_AGE).describe("How long it must keep them"),
  }),
  judge: {
    Pool({ retain }, { config }) {
      const findings: Finding[] = [];
      if (retain?.count !== undefined && retain.count < config.count)
        findings.push({
          at: "retain.count",
          message: `${retain.count} leaves ${retain.count === 0 ? "no release" : "too few releases"} to go back to: keep at least ${config.count}`,
        });
      if (retain?.age !== undefined && milliseconds(retain.age) < milliseconds(config.age))
        findings.push({
          at: "retain.age",
          message: `${retain.age} is too short to find out that a release is bad: keep it for at least ${config.age}`,
        });
      return findings;
    },
  },
});
