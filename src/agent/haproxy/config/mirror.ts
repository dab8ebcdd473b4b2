import { join } from "node:path";
import { DEFAULT_MAX_BODY, MIRROR_HEADER, type Mirror } from "../../../model/route/mirror";
import type { RouteSpec } from "../../../model/route/route";
import { parsePercent, SPLIT_PARTS } from "../../../model/route/split";
import { bytes } from "../../../model/types/size";
import { LUA_MEMORY_MIB, SCRIPT_FILE } from "../../mirror/script";
import { quote } from "./quote";

/**
 * How a route's copies are drawn (what becomes of them is told in src/agent/mirror/script.ts). The shares are in the map of the
 * splits, so that they change as live as those do, in old workers too.
 */

type Routes = Record<string, RouteSpec>;

/** HAProxy's buffer by default, in bytes: it holds a body of {@link DEFAULT_MAX_BODY} and the headers. */
const BUFFER_BYTES = 16_384;
const LOAD_SCRIPT = "lua-load-per-thread";
/** Time for a body that is on its way, which its client's own timeout bounds; HAProxy answers 408 after it. */
const BODY_PATIENCE = "24d";

/** Whether the edge's config needs the script. */
export function isCopied(routes: Routes): boolean {
  return Object.values(routes).some(({ mirror, sample }) => mirror !== undefined || sample !== undefined);
}

/** Keys in the map and shares in 1/10,000. A key names its backend: an old worker has another one where that changes. */
export function sharesOf(name: string, { mirror, sample }: RouteSpec): [key: string, share: number][] {
  return [
    ...(mirror === undefined ? [] : [[mirrorKey(name, mirror), parts(mirror.share)] as [string, number]]),
    ...(sample === undefined ? [] : [[sampleKey(name), parts(sample.share)] as [string, number]]),
  ];
}

/** Key of a mirror's share in the map. */
export function mirrorKey(name: string, { to }: Pick<Mirror, "to">): string {
  return `mirror:${name}/${to}`;
}

function sampleKey(name: string): string {
  return `sample:${name}`;
}

/** A key of the map as people call it. */
export function shareName(key: string): string {
  const [, kind, route = "", to] = /^(mirror|sample):([^/]*)(?:\/(.*))?$/.exec(key) ?? [];
  if (kind === undefined) return `the split of ${key}`;
  return `the share of route ${route} ${kind === "mirror" ? `for its mirror ${to}` : "that is sampled"}`;
}

/** Lines of the global section. @param folder of the config and the script */
export function mirrorGlobals(routes: Routes, digest: string, folder: string): string[] {
  if (!isCopied(routes)) return [];
  const largest = Math.max(...Object.values(routes).map(({ mirror }) => bytes(mirror?.maxBody ?? DEFAULT_MAX_BODY)));
  const more = largest - bytes(DEFAULT_MAX_BODY);
  return [
    ...(more > 0 ? [`  tune.bufsize ${BUFFER_BYTES + more}`] : []),
    `  tune.lua.maxmem ${LUA_MEMORY_MIB}`,
    // From 3.1 on, HAProxy warns of a script where nothing says how it is given booleans: as they are.
    "  .if version_atleast(3.1)",
    "  tune.lua.bool-sample-conversion normal",
    "  .endif",
    scriptComment(digest),
    loadScript(folder),
  ];
}

/** A config whose script is in another folder, as one that is only checked has it. */
export function withScriptIn(text: string, folder: string): string {
  return text.replace(new RegExp(`^  ${LOAD_SCRIPT} .*$`, "m"), () => loadScript(folder));
}

/** HAProxy reads the script only once `default-path` is over, when its own working folder counts, which may be any. */
function loadScript(folder: string): string {
  return `  ${LOAD_SCRIPT} ${quote(join(folder, SCRIPT_FILE))}`;
}

/** Line by which another script is a change of the config. */
export function scriptComment(digest: string): string {
  return `  # script ${digest}`;
}

/**
 * Lines of a frontend that copy requests of a route, after those that tell whether it takes the request.
 *
 * @param map file with the shares
 */
export function copyLines(map: string, name: string, { mirror, sample }: RouteSpec): string[] {
  return [
    ...(mirror === undefined ? [] : mirrorLines(map, name, mirror)),
    ...(sample === undefined
      ? []
      : [
          ...sampleLines(map, "sample", name, sampleKey(name)),
          `  http-request lua.sample ${name} if route_${name}_taken route_${name}_sample { method GET }`,
        ]),
  ];
}

function mirrorLines(map: string, name: string, mirror: Mirror): string[] {
  const { methods } = mirror;
  const most = bytes(mirror.maxBody);
  const length = "req.hdr_val(content-length)";
  const sampled = `if route_${name}_taken route_${name}_mirror${methods === undefined ? "" : ` { method ${methods.join(" ")} }`}`;
  return [
    ...sampleLines(map, "mirror", name, mirrorKey(name, mirror)),
    // Wait for the whole body only of requests that are small enough to be copied.
    ...(most > 0
      ? [`  http-request wait-for-body time ${BODY_PATIENCE} ${sampled} { ${length} gt 0 } { ${length} le ${most} }`]
      : []),
    `  http-request lua.mirror ${name} ${most} ${sampled}`,
  ];
}

/** A copy is not copied again, and a request that leaves HTTP behind can't be. */
function sampleLines(map: string, kind: "mirror" | "sample", name: string, key: string): string[] {
  const plain = `!{ req.fhdr(${MIRROR_HEADER}) -m found } !{ req.fhdr(upgrade) -m found } !{ method CONNECT }`;
  return [
    `  http-request set-var(txn.share) str(${key}),map_str_int(${map},0) if route_${name}_taken`,
    `  http-request set-var(txn.${kind}) rand(${SPLIT_PARTS}),sub(txn.share) if route_${name}_taken ${plain}`,
    `  acl route_${name}_${kind} var(txn.${kind}) -m int lt 0`,
  ];
}

function parts(share: string): number {
  return parsePercent(share) ?? 0;
}
