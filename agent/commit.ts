import type { Target } from "../model/transaction";
import { type Desired, isDesired, isEmpty, merge, type Overlay, takenOverIn } from "./desired";
import { heldSince } from "./held-since";
import { Problem } from "./problem";
import { type Committed, remember } from "./state";

/**
 * What is committed once an overlay is, and who then declares what.
 *
 * @param urn resource whose change it is
 * @throws Problem `no-edge` where something would be left without its edge
 */
export function committedAfter(
  committed: Committed,
  overlay: Overlay,
  { urn, ...transaction }: { id: string; target: Target; who: string; urn: string },
): Committed {
  const merged = merge(committed, [overlay]);
  assertEdges(merged, overlay);
  const at = new Date().toISOString();
  return {
    ...committed,
    ...merged,
    takenOver: takenOverIn(merged, committed.takenOver),
    routesSince: heldSince(committed, merged, at),
    // Who only held it for a while has not declared it.
    owners: isEmpty(overlay)
      ? committed.owners
      : ownersAfter(committed.owners, transaction.target, isDesired(merged, transaction.target) ? urn : undefined),
    transactions: remember(committed.transactions, { ...transaction, at }),
  };
}

/**
 * What is committed needs its edge in the committed state: one that another transaction has only begun to make, or to
 * remove, may be there no more, or still.
 */
function assertEdges(merged: Desired, overlay: Overlay): void {
  const users = usersOfEdges(merged).filter(
    ({ user, edge }) => merged.edges[edge] === undefined && (isChanged(overlay, user) || overlay.edges[edge] === null),
  );
  const [first] = users;
  if (first === undefined) return;
  throw new Problem(
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

/** Who declares what, after a change of one target; `undefined` for one that went. */
function ownersAfter(owners: Committed["owners"], target: Target, urn: string | undefined): Committed["owners"] {
  const { [target]: _before, ...rest } = owners;
  return urn === undefined ? rest : { ...rest, [target]: urn };
}
