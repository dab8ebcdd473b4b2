import { type Claim, type Declarer, isSameStack, stackNameOf } from "../../model/protocol/ownership";
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
    stablesBefore: stablesBefore(committed, merged),
    owners: ownersAfter(committed.owners, transaction.target, {
      urn,
      claim,
      stays: isDesired(merged, transaction.target),
    }),
    transactions: remember(committed.transactions, { ...transaction, at }),
  };
}

/** The stable backend that each route had before its present one, after a commit. */
function stablesBefore(committed: Pick<Committed, "routes" | "stablesBefore">, { routes }: Desired) {
  return Object.fromEntries(
    Object.entries(routes).flatMap(([name, { stable }]): [string, string][] => {
      const last = committed.routes[name]?.stable ?? stable;
      const before = last === stable ? committed.stablesBefore[name] : last;
      return before === undefined ? [] : [[name, before]];
    }),
  );
}

/**
 * The committed state after a resource declares the agent, or stops to do so: a resource has one token. The first one's stack says
 * what the agent's options are, so that another resource of a stack comes right behind it.
 */
export function declaredBy(committed: Committed, { urn, token, gone }: Declarer): Committed {
  const before = Object.entries(committed.declarers);
  const isOwn = ([known, other]: [string, string]) => known === token || (!gone && other === urn);
  const place = before.findLastIndex((one) => isOwn(one) || isSameStack(one[1], urn));
  const own: [string, string][] = gone ? [] : [[token, urn]];
  const next = before.flatMap((one, index) => [...(isOwn(one) ? [] : [one]), ...(index === place ? own : [])]);
  return { ...committed, declarers: Object.fromEntries(place < 0 ? [...next, ...own] : next) };
}

/** Targets that belong to a stack (`project/stack`), and `agent` if the stack declares the agent itself. */
export function ownedBy({ owners, declarers }: Pick<Committed, "owners" | "declarers">, stack: string): string[] {
  const targets = Object.entries(owners).flatMap(([target, { urn }]) => (stackNameOf(urn) === stack ? [target] : []));
  return [...(Object.values(declarers).some((urn) => stackNameOf(urn) === stack) ? ["agent"] : []), ...targets];
}

/** The committed state without a stack's ownership: its resources keep running, and belong to nobody. */
export function withoutStack(committed: Committed, stack: string): Committed {
  const others = <T>(entries: Record<string, T>, urnOf: (entry: T) => string) =>
    Object.fromEntries(Object.entries(entries).filter(([, entry]) => stackNameOf(urnOf(entry)) !== stack));
  return {
    ...committed,
    owners: others(committed.owners, ({ urn }) => urn),
    declarers: others(committed.declarers, (urn) => urn),
  };
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
