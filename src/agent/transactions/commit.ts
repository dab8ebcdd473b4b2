import type { Claim, Declarer } from "../../model/protocol/ownership";
import type { Target } from "../../model/protocol/transaction";
import { ApiError } from "../api/api-error";
import { type Desired, isDesired, merge, type Overlay, takenOverIn } from "../state/desired";
import { type Committed, remember } from "../state/state";
import { unchangedSince } from "./unchanged-since";

/** A transaction that is to be committed. */
export interface Commit {
  id: string;
  target: Target;
  who: string;
  urn: string;
  claim?: Claim | undefined;
}

/**
 * The committed state after an overlay's commit, and the owners in it.
 *
 * @param urn resource whose change it is
 * @param claim its claim on the target; left out by one who has not declared it
 * @throws Problem `no-edge` where something would be left without its edge
 */
export function committedAfter(
  committed: Committed,
  overlay: Overlay,
  { urn, claim, ...transaction }: Commit,
): Committed {
  const merged = merge(committed, [overlay]);
  assertEdges(merged, overlay);
  const at = new Date().toISOString();
  return {
    ...committed,
    ...merged,
    takenOver: takenOverIn(merged, committed.takenOver),
    routesSince: unchangedSince(committed, merged, at),
    owners: ownersAfter(committed.owners, transaction.target, {
      urn,
      claim,
      stays: isDesired(merged, transaction.target),
    }),
    transactions: remember(committed.transactions, { ...transaction, at }),
  };
}

/** The committed state after a resource declares the agent, or stops to do so: a resource has one token. */
export function declaredBy(committed: Committed, { urn, token, gone }: Declarer): Committed {
  const others = Object.entries(committed.declarers).filter(
    ([known, other]) => known !== token && (gone || other !== urn),
  );
  return { ...committed, declarers: Object.fromEntries(gone ? others : [...others, [token, urn]]) };
}

/**
 * A commit needs its edge in the committed state: another transaction may have only begun to make it, or to remove it.
 */
function assertEdges(merged: Desired, overlay: Overlay): void {
  const users = usersOfEdges(merged).filter(
    ({ user, edge }) => merged.edges[edge] === undefined && (isChanged(overlay, user) || overlay.edges[edge] === null),
  );
  const [first] = users;
  if (first === undefined) return;
  throw new ApiError(
    409,
    "no-edge",
    overlay.edges[first.edge] === null
      ? `edge ${first.edge} can't be removed: ${users.map(({ user }) => user).join(", ")} came to it meanwhile; remove that first`
      : `${first.user} can't be committed: its edge ${first.edge} is not on this agent any more, or not yet; declare the edge first`,
  );
}

function usersOfEdges({ pools, backends }: Desired): { user: Target; edge: string }[] {
  return [
    ...Object.entries(pools).flatMap(
      ([
        pool,
        {
          settings: { edge },
        },
      ]) => (edge === undefined ? [] : [{ user: `pool/${pool}` as Target, edge }]),
    ),
    ...Object.keys(backends).map((key) => ({ user: `backend/${key}`, edge: key.split("/")[0] ?? "" })),
  ];
}

function isChanged({ pools, backends }: Overlay, user: Target): boolean {
  const [kind, ...rest] = user.split("/");
  return Object.hasOwn(kind === "pool" ? pools : backends, rest.join("/"));
}

/** Owners of targets after a change of one. */
function ownersAfter(
  owners: Committed["owners"],
  target: Target,
  { urn, claim, stays }: Pick<Commit, "urn" | "claim"> & { stays: boolean },
): Committed["owners"] {
  const { [target]: _before, ...rest } = owners;
  if (!stays) return rest;
  return claim === undefined ? owners : { ...rest, [target]: { urn, token: claim.token } };
}
