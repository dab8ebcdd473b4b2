import { createHash } from "node:crypto";
import { bySpecificity, type RouteSpec } from "../../model/route";
import { SPLIT_PARTS } from "../../model/split";
import { copyLines, shareName, sharesOf } from "./mirror";
import { quote } from "./quote";

/**
 * How a request finds its backend (proven on HAProxy 2.6): the first route that fits is kept in `txn.route`. A number below
 * 10000, random or from a hash of what makes the client sticky, less the split in the map, is negative for the
 * candidate's share. So the share depends on no count of servers, and a client that was drawn below a split is drawn below
 * every higher one. The split alone changes by `set map`, in old workers too (through the master's socket).
 */

/** Map of splits, beside the config; HAProxy reads it when a worker starts. */
export const SPLITS_FILE = "splits.map";
/** Time for which a client keeps the cookie that makes it sticky, in seconds. */
const COOKIE_SECONDS = 30 * 24 * 3600;

/**
 * Key of a route's split in the map. It names the backends: a worker of before a reload in which they changed has another
 * key, and so never takes a split that was meant for other backends.
 */
export function splitKey(name: string, { stable, candidate }: Pick<RouteSpec, "stable" | "candidate">): string {
  return `${name}/${stable}/${candidate ?? ""}`;
}

/** The splits of all routes that have a candidate, and the shares that are copied, in 1/10,000, by their key in the map. */
export function splitsOf(routes: Record<string, RouteSpec>): Map<string, number> {
  const entries = Object.entries(routes).flatMap(([name, route]): [string, number][] => [
    ...(route.candidate === undefined ? [] : [[splitKey(name, route), route.split] as [string, number]]),
    ...sharesOf(name, route),
  ]);
  return new Map(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Content of the map file; nothing where it would be empty. */
export function splitsText(routes: Record<string, RouteSpec>): string | undefined {
  const splits = splitsOf(routes);
  if (splits.size === 0) return undefined;
  return [...splits].map(([key, split]) => `${key} ${split}\n`).join("");
}

/**
 * Lines of a frontend that send requests to the routes' backends.
 *
 * @param backendFor name of the backend that stands for a declared one, which may not exist yet
 */
export function routeLines(
  frontend: string,
  routes: Record<string, RouteSpec>,
  backendFor: (name: string) => string,
): string[] {
  const here = Object.entries(routes)
    .filter(([, { match }]) => match.frontends === undefined || match.frontends.includes(frontend))
    .toSorted(([a, one], [b, other]) => bySpecificity([a, one.match], [b, other.match]));
  if (here.length === 0) return [];
  return [
    "  acl routed var(txn.route) -m found",
    ...here.flatMap(([name, route]) => matchLines(name, route)),
    ...here.flatMap(([name, route]) => drawLines(name, route)),
    ...here.flatMap(([name, route]) => copyLines(SPLITS_FILE, name, route)),
    ...here.flatMap(([name, route]) => useLines(name, route, backendFor)),
  ];
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

function drawLines(name: string, route: RouteSpec): string[] {
  if (route.candidate === undefined) return [];
  const taken = `if route_${name}_taken`;
  return [
    `  http-request set-var(txn.draw) rand(${SPLIT_PARTS}) ${taken}`,
    ...stickyLines(name, route),
    `  http-request set-var(txn.split) str(${splitKey(name, route)}),map_str_int(${SPLITS_FILE},0) ${taken}`,
    `  http-request set-var(txn.draw) var(txn.draw),sub(txn.split) ${taken}`,
  ];
}

/** Where what makes the client sticky is missing, its variable is not set and the random draw stays. */
function stickyLines(name: string, { sticky }: RouteSpec): string[] {
  const taken = `if route_${name}_taken`;
  const draw = (fetch: string) =>
    `  http-request set-var(txn.draw) ${fetch},xxh32(${seedOf(name)}),mod(${SPLIT_PARTS}) ${taken}`;
  switch (sticky.by) {
    case "none":
      return [];
    case "header":
      return [draw(`req.fhdr(${sticky.name})`)];
    case "source":
      return [draw("src")];
    case "path":
      return [draw("path")];
    case "cookie":
      return [
        `  acl route_${name}_known req.cook(${sticky.name}) -m reg -- '^[0-9]{1,10}$'`,
        `  http-request set-var(txn.client) req.cook(${sticky.name}) ${taken} route_${name}_known`,
        // As a text from the first request on: a number has another hash.
        `  http-request set-var-fmt(txn.client) %[rand] ${taken} !route_${name}_known`,
        `  http-request set-var(txn.new_client_of) str(${name}) ${taken} !route_${name}_known`,
        draw("var(txn.client)"),
        `  acl route_${name}_new var(txn.new_client_of) -m str -- ${name}`,
        ...[
          ["; secure", "{ ssl_fc }"],
          ["", "!{ ssl_fc }"],
        ].map(
          ([secure, when]) =>
            `  http-response add-header set-cookie "${sticky.name}=%[var(txn.client)]; path=/; max-age=${COOKIE_SECONDS}; httponly; samesite=lax${secure}" if route_${name}_new ${when}`,
        ),
      ];
  }
}

/** Differs by route: clients that are early in one are not early in all. */
function seedOf(name: string): number {
  return createHash("sha256").update(name).digest().readUInt32BE(0) >>> 1;
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
      : [
          `  acl route_${name}_tester req.fhdr(${testers.header}) -m str -- ${quote(testers.value)}`,
          `  use_backend ${backendFor(candidate)} ${taken} route_${name}_tester`,
        ]),
    `  use_backend ${backendFor(candidate)} ${taken} { var(txn.draw) -m int lt 0 }`,
    stableLine,
  ];
}

/** One entry of a worker's map that is not as wanted. */
export interface SplitMend {
  reason: string;
  command: string;
}

/** What in the current worker's map is not as wanted. */
export function splitMends(routes: Record<string, RouteSpec>, has: ReadonlyMap<string, number>): SplitMend[] {
  return [...splitsOf(routes)].flatMap(([key, split]) => {
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
 * What in the map of a worker of before a reload is not as wanted: it may still get requests on connections that it has. A
 * route that went has no candidate any more, unless that is what is stable now.
 */
export function oldSplitMends(routes: Record<string, RouteSpec>, has: ReadonlyMap<string, number>): SplitMend[] {
  const wanted = splitsOf(routes);
  return [...has].flatMap(([key, is]) => {
    const [name = "", , candidate = ""] = key.split("/");
    const split = wanted.get(key) ?? (routes[name]?.stable === candidate ? is : 0);
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
