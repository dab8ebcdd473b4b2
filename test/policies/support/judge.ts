import type { z } from "zod";
import type { Judged, Kind, Unsure } from "../../../policies/support/judged";
import type { Policy, Seen } from "../../../policies/support/policy";
import type { Stack } from "../../../policies/support/stack";
import { gate } from "../../../src/model/gate/gate";
import { STABLE, stages } from "../../../src/model/route/stages";

export interface Given {
  /** The policy's part of the pack's config. */
  config?: object;
  stack?: Partial<Stack>;
  now?: Date;
  others?: Seen[];
}

const STACK: Stack = { name: "prod", project: "test", config: {}, secretKeys: [], preview: true };

/** Findings of a policy as lines: `stages[0].window: 1 second ...`; an advisory one begins with `advisory `. */
export function judge<K extends Kind>(policy: Policy, kind: K, inputs: Unsure<Judged[K]>, given: Given = {}): string[] {
  const judgeKind = policy.judge?.[kind];
  if (judgeKind === undefined) throw new Error(`${policy.name} does not judge a ${kind}`);
  const findings = judgeKind(inputs as never, {
    config: policy.config.parse(given.config ?? {}) as z.output<typeof policy.config>,
    stack: { ...STACK, ...given.stack },
    urn: "urn:pulumi:prod::test::type::name",
    now: given.now ?? new Date("2026-06-15T12:00:00Z"),
    others: given.others ?? [],
  });
  return findings.map(
    ({ at, message, advisory }) => `${advisory ? "advisory " : ""}${at === undefined ? "" : `${at}: `}${message}`,
  );
}

/** A route on its way from a share to a stage, as Check has it. */
export function routeOnItsWay(
  from: `${number}%`,
  to: `${number}%`,
  declared: z.input<typeof stages>,
  changes: Unsure<Judged["Route"]> = {},
): Unsure<Judged["Route"]> {
  const kind = Number.parseFloat(to) > Number.parseFloat(from) ? "promotion" : "rollback";
  return {
    name: "api",
    stable: "blue",
    candidate: "green",
    stages: stages.parse(declared) as NonNullable<Unsure<Judged["Route"]>["stages"]>,
    stage: to === "0%" ? STABLE : to,
    change: { kind, from, to, stable: { from: "blue", to: "blue", had: "100%", before: "" } },
    ...changes,
  };
}

/** A pool whose candidate is on its way from a share to a stage, as Check has it. */
export function candidateOnItsWay(
  from: `${number}%`,
  to: `${number}%`,
  declared: z.input<typeof stages>,
  changes: Unsure<Judged["Pool"]> = {},
): Unsure<Judged["Pool"]> {
  const kind = Number.parseFloat(to) > Number.parseFloat(from) ? "promotion" : "rollback";
  return {
    name: "web",
    release: { id: "v1", path: "/srv/v1" },
    canary: {
      release: { id: "v2", path: "/srv/v2" },
      stages: stages.parse(declared) as NonNullable<Unsure<Judged["Route"]>["stages"]>,
      stage: to === "0%" ? STABLE : to,
    },
    change: { kind, from: "v1", to: "v1", order: ["v1"], candidate: { release: "v2", from, to } },
    ...changes,
  };
}

/** An sli gate with a limit that nothing breaks, and changes. */
export function sli(changes: object = {}) {
  return gate.parse({ kind: "sli", thresholds: ["5xx < 1 %"], ...changes });
}

/** An sli gate of Prometheus. */
export function prometheus(changes: object) {
  return gate.parse({ kind: "sli", source: "prometheus", url: "http://127.0.0.1:9090", ...changes });
}

/** Findings of a policy about a stack as a whole. */
export function judgeStack(policy: Policy, given: Given): string[] {
  if (policy.judgeStack === undefined) throw new Error(`${policy.name} does not judge a stack`);
  const config = policy.config.parse(given.config ?? {}) as z.output<typeof policy.config>;
  const findings = policy.judgeStack({
    config,
    stack: { ...STACK, ...given.stack },
    now: new Date("2026-06-15T12:00:00Z"),
    others: given.others ?? [],
  });
  return findings.map(({ message }) => message);
}
