import type { PolicyConfigSchema, ResourceValidationPolicy, StackValidationPolicy } from "@pulumi/policy";
import { z } from "zod";
import { issueMessage } from "../../src/model/types/messages";
import { type Judged, type Kind, kindOf, known, type Unsure } from "./judged";
import type { Finding, Policy, Seen } from "./policy";
import { stack } from "./stack";

type Report = (violation: Violation) => void;

/** Fields of a violation beside its text; without them the SDK would begin each with the policy's description. */
interface Violation {
  message: string;
  enforcementLevel?: "advisory";
}

/** Most findings that one violation lists: who mends these sees the others next. */
const MAX_LINES = 30;

/** The resources of this run, which the policies of the pack share. */
const seen = new Map<string, Seen>();

/** The SDK's form of a policy. @param clock tells the time that it judges at */
export function adapt(policy: Policy, clock: () => Date): ResourceValidationPolicy | StackValidationPolicy {
  const { name, description, level, judge, judgeStack } = policy;
  const common = { name, description, enforcementLevel: level, configSchema: configSchema(policy) };
  if (judgeStack !== undefined)
    return {
      ...common,
      validateStack: (args, report) =>
        configured(policy, args.getConfig(), report as unknown as Report, (config) =>
          judgeStack({ config, stack: stack(), now: clock(), others: [...seen.values()] }),
        ),
    };
  return {
    ...common,
    validateResource: ({ type, urn, props, getConfig }, report) => {
      const kind = kindOf(type);
      if (kind === undefined) return;
      const inputs = known(props) as Unsure<Judged[Kind]>;
      seen.set(urn, { urn, kind, inputs });
      // The kind decides the type of the inputs, which TypeScript can't follow through the table.
      const judgeKind = judge?.[kind] as ((inputs: unknown, circumstances: unknown) => Finding[]) | undefined;
      if (judgeKind === undefined) return;
      configured(policy, getConfig(), report as unknown as Report, (config) => {
        const others = [...seen.values()].filter((other) => other.urn !== urn);
        const findings = judgeKind(inputs, { config, stack: stack(), urn, now: clock(), others });
        return isRollback(inputs)
          ? findings.map((finding) => ({
              ...finding,
              advisory: finding.advisory === true || finding.evenBack !== true,
            }))
          : findings;
      });
    },
  };
}

/** Going back must never wait: what speaks against it is said, and refuses nothing unless going back can't work. */
function isRollback(inputs: object): boolean {
  const { change } = inputs as { change?: { kind?: unknown } };
  return change?.kind === "rollback";
}

/** Judges by a config once that is checked; a bad one is a finding itself, since nothing could be judged by it. */
function configured(
  policy: Policy,
  given: object,
  report: Report,
  judge: (config: Record<string, unknown>) => Finding[],
): void {
  const config = policy.config.safeParse(given, { error: issueMessage });
  const findings = config.success
    ? judge(config.data)
    : config.error.issues.map(({ path, message }) => ({
        message: `the policy pack's config of ${[policy.name, ...path].join(".")}: ${message}`,
      }));
  say(findings, report);
}

/** One violation per level with a line for each finding: a title of its own for each would hide them. */
function say(findings: readonly Finding[], report: Report): void {
  const lines = (advisory: boolean) => {
    const all = findings
      .filter((finding) => (finding.advisory ?? false) === advisory)
      .map(({ at, message }) => (at === undefined ? message : `${at}: ${message}`));
    const more = all.length - MAX_LINES;
    return (more > 0 ? [...all.slice(0, MAX_LINES), `and ${more} more`] : all).join("\n");
  };
  const [refused, advisory] = [lines(false), lines(true)];
  if (refused !== "") report({ message: refused });
  if (advisory !== "") report({ message: advisory, enforcementLevel: "advisory" });
}

/** The JSON schema of a policy's config, by which the engine checks it. */
export function configSchema({ config }: Pick<Policy, "config">): PolicyConfigSchema {
  const { properties = {}, required } = z.toJSONSchema(config, { io: "input" });
  return { properties: properties as PolicyConfigSchema["properties"], ...(required ? { required } : {}) };
}
