import type { EdgeBackend } from "../../../model/pool/pool-share";
import type { RouteSpec } from "../../../model/route/route";
import { candidateBackend, poolOfBackend } from "../../../model/types/names";
import { quote } from "./quote";
import { splitLines } from "./traffic-split";

/**
 * How a pool's candidate gets its share of the requests that lead to the pool: once it is clear which backend a request is
 * for, by a route or by default, it is drawn again as for a route. Backends without a share add nothing to a config.
 */

type Backends = Readonly<Record<string, EdgeBackend>>;

const VARIABLES = {
  draw: "txn.share_draw",
  split: "txn.share_split",
  client: "txn.share_client",
  newClientOf: "txn.share_new",
};

/** Keys in the map of splits and shares in 1/10,000. */
export function poolSplitsOf(backends: Backends): [key: string, share: number][] {
  return Object.values(backends).flatMap(({ share }) =>
    share === undefined ? [] : [[share.key, share.split] as [string, number]],
  );
}

/**
 * Wanted value of an entry of no current share in an old worker's map: a former candidate that serves now keeps its
 * requests there.
 */
export function oldPoolSplit(key: string, has: number, backends: Backends): number | undefined {
  const [backend = "", , generation] = key.split("/");
  const pool = poolOfBackend(backend);
  if (pool === backend) return undefined;
  const servers = Object.keys(backends[pool]?.servers ?? {});
  return servers.some((server) => new RegExp(`-${generation}-\\d+$`).test(server)) ? has : 0;
}

/**
 * Lines of a frontend that draw the requests which lead to a pool with a candidate.
 *
 * @param routes those of the frontend, whose conditions stand before
 */
export function poolSplitLines(
  backends: Backends,
  routes: readonly (readonly [string, RouteSpec])[],
  defaultBackend: string,
): { draws: string[]; uses: string[] } {
  const reached = new Set([defaultBackend, ...routes.flatMap(([, { stable, candidate }]) => [stable, candidate])]);
  const here = Object.entries(backends)
    .filter(([name, { share }]) => share !== undefined && reached.has(name))
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (here.length === 0) return { draws: [], uses: [] };
  const to = (backend: string, when: string) => `  http-request set-var(txn.pool) str(${backend})${when}`;
  const targets = routes.flatMap(([name, { stable, candidate, testers }]) => {
    const taken = ` if route_${name}_taken`;
    if (candidate === undefined) return [to(stable, taken)];
    return [
      to(stable, taken),
      to(candidate, `${taken} { var(txn.draw) -m int lt 0 } route_${name}_up`),
      ...(testers === undefined ? [] : [to(candidate, `${taken} route_${name}_tester route_${name}_up`)]),
    ];
  });
  return {
    draws: [to(defaultBackend, ""), ...targets, ...here.flatMap(([pool, { share }]) => poolSplit(pool, share))],
    uses: here.flatMap(([pool, { share }]) => {
      const candidate = candidateBackend(pool);
      const use = (who: string) => `  use_backend ${candidate} if share_${pool}_taken ${who} share_${pool}_up`;
      return [
        upLine(`share_${pool}_up`, candidate),
        ...(share?.testers === undefined ? [] : [use(`share_${pool}_tester`)]),
        use(`{ var(${VARIABLES.draw}) -m int lt 0 }`),
      ];
    }),
  };
}

/**
 * Whether a candidate takes requests: while none of its servers does, the stable side serves its clients. Servers without a limit
 * are -1 free connections; nbsrv would be 0 in a worker of before a reload.
 */
export function upLine(acl: string, backend: string): string {
  return `  acl ${acl} be_conn_free(${backend}) lt 0`;
}

function poolSplit(pool: string, share: EdgeBackend["share"]): string[] {
  if (share === undefined) return [];
  const { key, sticky, testers } = share;
  const acl = `share_${pool}`;
  return [
    `  acl ${acl}_taken var(txn.pool) -m str -- ${pool}`,
    ...(testers === undefined
      ? []
      : [`  acl ${acl}_tester req.fhdr(${testers.header}) -m str -- ${quote(testers.value)}`]),
    ...splitLines({ name: candidateBackend(pool), acl, key, sticky, variables: VARIABLES }),
  ];
}
