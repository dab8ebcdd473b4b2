import { z } from "zod";
import { claimProblem } from "../../model/protocol/ownership";
import { step, targetOf } from "../../model/protocol/transaction";
import { examine } from "../operator/doctor";
import { checkRelease, releaseRequest } from "../operator/release-check";
import { stepProblems } from "../transactions/step-problems";
import { type Call, parse } from "./call";

export async function check({ parts, body }: Call) {
  const { creator, now, ...rest } = parse(
    z.looseObject({ creator: z.string().optional(), now: z.boolean().default(false) }),
    body,
  );
  const wanted = parse(step, rest);
  const target = targetOf(wanted);
  const known = parts.host.committed.owners[target];
  const owned = creator === undefined ? undefined : claimProblem(target, known, { kind: "create", urn: creator });
  const problems = await stepProblems(wanted, parts.host, { preview: !now });
  return { problems: owned === undefined ? problems : [{ path: "name", message: owned }, ...problems] };
}

export async function doctor({ parts }: Call) {
  return { now: new Date().toISOString(), checks: await examine(parts.operator) };
}

export async function releaseCheck({ parts, body }: Call) {
  const checks = await checkRelease(parts.host, parse(releaseRequest, body));
  return { now: new Date().toISOString(), checks };
}
