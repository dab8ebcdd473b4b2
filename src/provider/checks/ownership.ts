import { randomBytes } from "node:crypto";
import type { PlanAnswer } from "../../agent/api/answers";
import { type Claim, claimProblem, type Ownership, owns } from "../../model/protocol/ownership";
import type { Context } from "../server";

/** Ownership in a resource's outputs: the inputs that Check computes have its URN alone. */
export interface Declared {
  declaredBy?: Ownership;
}

/** The claim of a resource that is created: with a new token, so that what had its target before can't remove it any more. */
export function createClaim(): Claim {
  return { kind: "create", token: drawToken() };
}

/** The claim of a resource that changes: with its own token, or with its first one after a version that had none. */
export function changeClaim(state: object): Claim {
  return { kind: "change", token: tokenOf(state) ?? drawToken() };
}

export function removeClaim(state: object): Claim {
  return { kind: "remove", token: tokenOf(state) };
}

function drawToken(): string {
  return randomBytes(12).toString("hex");
}

/** The token that recorded outputs have. */
export function tokenOf(state: object): string | undefined {
  return (state as Declared).declaredBy?.token;
}

/** Claim as a resource's outputs keep it. */
export function ownerAfter({ urn }: Context, { token }: Pick<Claim, "token">): Required<Declared> {
  return { declaredBy: { urn, token } };
}

/** Outputs as a preview shows them: a token is drawn by the update. */
export function ownerInPreview(state: object): Declared {
  const { declaredBy } = state as Declared;
  return declaredBy === undefined ? {} : { declaredBy };
}

/** Owner of an observed target, as it is recorded. */
export function ownerSeen({ owner }: { owner?: Ownership | undefined }, state: object): Declared {
  return owner === undefined ? {} : { declaredBy: { urn: owner.urn, token: tokenOf(state) } };
}

/** Whether an observed target is still that of a recorded resource; where it is not, that is said. */
export function stillOwns(
  { owner }: { owner?: Ownership | undefined },
  state: object,
  { what, log }: { what: string; log: Context["log"] },
): boolean {
  if (owns(owner, tokenOf(state))) return true;
  log.info(`${what} belongs to ${owner?.urn} now, which took it over: it goes on as it runs`);
  return false;
}

/** Throws where a resource may not act on a target, before anything is changed. */
export function assertClaim(
  target: string,
  observed: { owner?: Ownership | undefined } | undefined,
  claim: Claim | undefined,
  { urn }: Context,
): void {
  const problem = claim && claimProblem(target, observed?.owner, { ...claim, urn });
  if (problem !== undefined) throw new Error(problem);
}

/** Says in a preview that an update takes a target over, and the effect on its processes. */
export function logTakenOver(
  { taken }: Pick<PlanAnswer, "taken">,
  { what, create }: { what: string; create: boolean },
  { urn, log }: Context,
): void {
  if (taken === undefined || (!create && taken.from === urn)) return;
  const from = taken.from === urn ? `${what}, which runs already` : `${what} from ${taken.from}`;
  log.info(`takes over ${from}: ${taken.asItRuns ? "nothing restarts" : "it becomes what is declared here"}`);
}
