import type { EdgeBackend } from "../../../model/pool/pool-share";
import { bySpecificity, type RouteSpec } from "../../../model/route/route";
import { copyLines, shareName, sharesOf } from "./mirror";
import { oldPoolSplit, poolSplitLines, poolSplitsOf, upLine } from "./pool-split";
import { quote } from "./quote";
import { SPLITS_FILE, splitLines } from "./traffic-split";

export { SPLITS_FILE } from "./traffic-split";

/**
 * How a request finds its backend (proven on HAProxy 2.6): the first route that fits is kept in `txn.route`. A number below
 * 10000, random or from a hash of what makes the client sticky, less the split in the map, is negative for the
 * candidate's share. So the share depends on no count of servers, and a client that was drawn below a split is drawn below
 * every higher one. The split alone changes by `set map`, in old workers too (through the master's socket).
 */

type Routes = Record<string, RouteSpec>;
type Backends = Record<string, EdgeBackend>;

/**
 * Key of a route's split in the map. It names the backends: a worker of before a reload in which they changed has another
 * key, and so never takes a split that was meant for other backends.
 */
export function splitKey(name: string, { stable, candidate }: Pick<RouteSpec, "stable" | "candidate">): string {
  return `${name}/${stable}/${candidate ?? ""}`;
}

/** The splits of all routes and pools that have a candidate, and the shares that are copied, in 1/10,000, by their key in the map. */
function splitsOf(routes: Routes, backends: Backends): Map<string, number> {
  const entries = Object.entries(routes).flatMap(([name, route]): [string, number][] => [
    ...(route.candidate === undefined ? [] : [[splitKey(name, route), route.split] as [string, number]]),
    ...sharesOf(name, route),
  ]);
  return new Map([...entries, ...poolSplitsOf(backends)].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Content of the map file; undefined if it would be empty. */
export function splitsText(routes: Routes, backends: Backends): string | undefined {
  const splits = splitsOf(routes, backends);
  if (splits.size === 0) return undefined;
  return [...splits].map(([key, split]) => `${key} ${split}\n`).join("");
}

/** Lines of a frontend that send requests to the routes' backends, and to the candidates of pools. */
export function routeLines(
  frontend: string,
  routes: Routes,
  { backends, defaultBackend, backendFor }: FrontendBackends,
): string[] {
  const here = Object.entries(routes)
    .filter(([, { match }]) => match.frontends === undefined || match.frontends.includes(frontend))
    .toSorted(([a, one], [b, other]) => bySpecificity([a, one.match], [b, other.match]));
  const shares = poolSplitLines(backends, here, defaultBackend);
  return [
    ...(here.length === 0 ? [] : ["  acl routed var(txn.route) -m found"]),
    ...here.flatMap(([name, route]) => matchLines(name, route)),
    ...here.flatMap(([name, route]) => routeSplit(name, route)),
    ...here.flatMap(([name, route]) => copyLines(SPLITS_FILE, name, route)),
    ...here.flatMap(([name, route]) => candidateLines(name, route, backendFor)),
    ...here.flatMap(([name, route]) => singleTryLines(name, route, backends)),
    ...shares.draws,
    ...shares.uses,
    ...here.flatMap(([name, route]) => useLines(name, route, backendFor)),
  ];
}

interface FrontendBackends {
  backends: Backends;
  defaultBackend: string;
  /** Name of the backend that stands for a declared one, which may not exist yet. */
  backendFor: (name: string) => string;
}

/** Values stand in conditions of their own lines, where a quoted word is nothing but a value: between braces `}` is the end. */
function matchLines(name: string, { match }: RouteSpec): string[] {
  const acl = (part: string, test: string) => `  acl route_${name}_${part} ${test}`;
  const headers = Object.entries(match.headers).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const conditions: [string, string[]][] = [
    ...(match.host === undefined
      ? []
      : [["host", [`req.hdr(host),host_only,lower -m str -- ${quote(match.host)}`]] as [string, string[]]]),
    ...(match.pathPrefix === undefined ? [] : [["path", pathTests(match.pathPrefix)] as [string, string[]]]),
    ...headers.map(([header, value], index): [string, string[]] => [
      `header_${index}`,
      [`req.fhdr(${header}) -m str -- ${quote(value)}`],
    ]),
  ];
  const wanted = conditions.map(([part]) => ` route_${name}_${part}`).join("");
  return [
    ...conditions.flatMap(([part, tests]) => tests.map((test) => acl(part, test))),
    `  http-request set-var(txn.route) str(${name}) if !routed${wanted}`,
    acl("taken", `var(txn.route) -m str -- ${name}`),
  ];
}

/** Tests of which one must hold: the path itself, or one below it. */
function pathTests(prefix: string): string[] {
  if (prefix.endsWith("/")) return [`path -m beg -- ${quote(prefix)}`];
  return [`path -m str -- ${quote(prefix)}`, `path -m beg -- ${quote(`${prefix}/`)}`];
}

const VARIABLES = { draw: "txn.draw", split: "txn.split", client: "txn.client", newClientOf: "txn.new_client_of" };

function routeSplit(name: string, route: RouteSpec): string[] {
  if (route.candidate === undefined) return [];
  const { sticky } = route;
  return splitLines({ name, acl: `route_${name}`, key: splitKey(name, route), sticky, variables: VARIABLES });
}

function candidateLines(
  name: string,
  { candidate, testers }: RouteSpec,
  backendFor: FrontendBackends["backendFor"],
): string[] {
  if (candidate === undefined) return [];
  return [
    ...(testers === undefined
      ? []
      : [`  acl route_${name}_tester req.fhdr(${testers.header}) -m str -- ${quote(testers.value)}`]),
    upLine(`route_${name}_up`, backendFor(candidate)),
  ];
}

/** Do not retry a candidate's requests on another of its servers: gates judge it by its failures. */
function singleTryLines(name: string, { candidate, testers }: RouteSpec, backends: Backends): string[] {
  if (candidate === undefined || backends[candidate]?.retry !== "safe") return [];
  const line = (when: string) => `  http-request disable-l7-retry if route_${name}_taken ${when} route_${name}_up`;
  return [line("{ var(txn.draw) -m int lt 0 }"), ...(testers === undefined ? [] : [line(`route_${name}_tester`)])];
}

function useLines(
  name: string,
  { stable, candidate, testers }: RouteSpec,
  backendFor: (name: string) => string,
): string[] {
  const taken = `if route_${name}_taken`;
  const stableLine = `  use_backend ${backendFor(stable)} ${taken}`;
  if (candidate === undefined) return [stableLine];
  return [
    ...(testers === undefined
      ? []
      : [`  use_backend ${backendFor(candidate)} ${taken} route_${name}_tester route_${name}_up`]),
    `  use_backend ${backendFor(candidate)} ${taken} { var(txn.draw) -m int lt 0 } route_${name}_up`,
    stableLine,
  ];
}

/** One entry of a worker's map that is not as wanted. */
export interface SplitCorrection {
  reason: string;
  command: string;
}

/** Corrections of the current worker's map. */
export function splitCorrections(
  routes: Routes,
  backends: Backends,
  has: ReadonlyMap<string, number>,
): SplitCorrection[] {
  return [...splitsOf(routes, backends)].flatMap(([key, split]) => {
    const is = has.get(key);
    if (is === split) return [];
    return is === undefined
      ? [{ reason: `${shareName(key)} is missing`, command: `add map ${SPLITS_FILE} ${key} ${split}` }]
      : [
          {
            reason: `${shareName(key)} is ${is}, not ${split}`,
            command: `set map ${SPLITS_FILE} ${key} ${split}`,
          },
        ];
  });
}

/**
 * Corrections of the map in a worker from before a reload: it may still get requests on connections that it has. A
 * route that went has no candidate any more, unless that is what is stable now.
 */
export function oldSplitCorrections(
  routes: Routes,
  backends: Backends,
  has: ReadonlyMap<string, number>,
): SplitCorrection[] {
  const wanted = splitsOf(routes, backends);
  return [...has].flatMap(([key, is]) => {
    const [name = "", , candidate = ""] = key.split("/");
    const split = wanted.get(key) ?? oldPoolSplit(key, is, backends) ?? (routes[name]?.stable === candidate ? is : 0);
    if (is === split) return [];
    return [{ reason: `${shareName(key)} is ${is}, not ${split}`, command: `set map ${SPLITS_FILE} ${key} ${split}` }];
  });
}

/** Reads the answer of `show map`; of entries of the same key the first one counts, as in a lookup. */
export function parseSplits(text: string): Map<string, number> {
  const splits = new Map<string, number>();
  for (const [, key = "", value = ""] of text.matchAll(/^0x[0-9a-f]+ (\S+) (\d+)$/gm))
    if (!splits.has(key)) splits.set(key, Number(value));
  return splits;
}
