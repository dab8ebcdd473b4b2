import { z } from "zod";
import { isSecretName, secretIn } from "../src/model/types/secret-text";
import type { Judged, Unsure } from "./support/judged";
import { type Finding, policy } from "./support/policy";
import { type ProcessSet, processSets } from "./support/processes";

/** `--password=hunter2`, `-Dtoken=x`, `API_KEY=x`. */
const ASSIGNMENT = /^(-{0,2}[A-Za-z][\w.-]*)=(.*)$/s;
const OPTION = /^--?[A-Za-z][\w.-]*$/;

export const plainSecrets = policy({
  name: "plain-secrets",
  description: "Secrets are not written in plain text, where state, logs and process listings show them.",
  level: "mandatory",
  config: z.strictObject({
    allow: z
      .array(z.string().min(1))
      .default([])
      .describe("Environment variables and keys of stack config that look like secrets but are none"),
  }),
  judge: {
    Stack: (_stack, { stack, config: { allow } }) =>
      Object.entries(stack.config)
        .filter(([key]) => !stack.secretKeys.includes(key) && !allow.includes(key))
        .flatMap(([key, value]) =>
          findings(
            `config ${key}`,
            secretIn(value, key.split(":").at(-1)),
            `set it anew with "pulumi config set --secret ${key}"`,
          ),
        ),
    Pool: (pool, { config: { allow } }) => [
      ...processSets(pool).flatMap((set) => ofProcesses(set, allow)),
      ...ofStages("canary.stages", pool.canary?.stages, allow),
      ...ofGates("watch.before", pool.watch?.before, allow),
      ...ofGates("watch.gates", pool.watch?.gates, allow),
    ],
    Route: ({ stages }, { config: { allow } }) => ofStages("stages", stages, allow),
  },
});

function ofProcesses({ at, processes, secretNames }: ProcessSet, allow: readonly string[]): Finding[] {
  return Object.entries(processes).flatMap(([id, process]) => [
    ...Object.entries(process?.env ?? {}).flatMap(([key, value]) => {
      const isFine = value === undefined || allow.includes(key) || secretNames?.[id]?.includes(key);
      const remedy = "make it a secret, as config.requireSecret and pulumi.secret do";
      return isFine ? [] : findings(`${at}.${id}.env.${key}`, secretIn(value, key), remedy);
    }),
    ...command(`${at}.${id}.command`, process?.command, allow),
  ]);
}

type Stages = Unsure<Judged["Route"]>["stages"];
type Gates = NonNullable<NonNullable<Stages>[number]>["gates"];

function ofStages(at: string, stages: Stages, allow: readonly string[]): Finding[] {
  return (stages ?? []).flatMap((stage, index) => ofGates(`${at}[${index}].gates`, stage?.gates, allow));
}

function ofGates(at: string, gates: Gates, allow: readonly string[]): Finding[] {
  return (gates ?? []).flatMap((gate, index) => gateSecrets(`${at}[${index}]`, gate, allow));
}

function gateSecrets(at: string, gate: NonNullable<Gates>[number], allow: readonly string[]): Finding[] {
  if (gate === undefined) return [];
  const url = "url" in gate && typeof gate.url === "string" ? gate.url : "";
  const urlFinding = findings(
    `${at}.url`,
    secretIn(url),
    "leave it out, or use a command gate that reads it where it runs",
  );
  return "command" in gate ? [...urlFinding, ...command(`${at}.command`, gate.command, allow)] : urlFinding;
}

/** Arguments are seen in process listings, whether Pulumi keeps them secret or not. */
function command(at: string, given: string | (string | undefined)[] | undefined, allow: readonly string[]): Finding[] {
  const remedy = "pass it in the process's env, as a secret";
  if (typeof given === "string") return findings(at, secretIn(given), remedy);
  return (given ?? []).flatMap((text, index) => {
    if (text === undefined) return [];
    const [, option, value] = ASSIGNMENT.exec(text) ?? [];
    const before = given?.[index - 1];
    const name = option ?? (before !== undefined && OPTION.test(before) && isSecretName(before) ? before : undefined);
    if (name !== undefined && allow.includes(name)) return [];
    return findings(`${at}[${index}]`, secretIn(value ?? text, name), remedy);
  });
}

function findings(at: string, what: string | undefined, remedy: string): Finding[] {
  return what === undefined ? [] : [{ at, message: `${what}, in plain text: ${remedy}` }];
}
