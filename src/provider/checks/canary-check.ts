import { candidateProblems } from "../../model/pool/candidate-problems";
import type { SecretNames } from "../../model/pool/pool-problems";
import type { DeclaredPool } from "../resources/pool-inputs";
import { type Context, type Failure, isUnknown, renderPath } from "../server";
import { gateFailures } from "./gate-checks";
import { meterFailures } from "./metered";
import { asDraft, leadsToUnknown } from "./partly-known";

/** Problems of a candidate's release and processes beside those of its pool, as far as they are known. */
export function candidateFailures({ canary, ...pool }: DeclaredPool, secrets: SecretNames): Failure[] {
  if (typeof canary !== "object" || canary === null || isUnknown(canary)) return [];
  return candidateProblems(asDraft(pool), asDraft(canary), secrets)
    .filter(({ path }) => !leadsToUnknown(canary, path))
    .map(({ path, message }) => ({ property: renderPath(["canary", ...path]), reason: message }));
}

/** Problems of the gates of a candidate's stages. */
export async function canaryGateFailures({ agent, edge, canary }: DeclaredPool, context: Context): Promise<Failure[]> {
  if (canary === undefined) return [];
  const failures = [
    ...(await meterFailures(agent, edge === undefined ? [] : [edge], canary.stages)),
    ...(await gateFailures(canary.stages, context)),
  ];
  return failures.map(({ property, reason }) => ({ property: `canary.${property}`, reason }));
}
