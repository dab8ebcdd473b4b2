import { createHash } from "node:crypto";
import type { Sticky } from "../../../model/route/route";
import { SPLIT_PARTS } from "../../../model/route/split";

/** Map of splits, beside the config; HAProxy reads it when a worker starts. */
export const SPLITS_FILE = "splits.map";
/** Time for which a client keeps the cookie that makes it sticky, in seconds. */
const COOKIE_SECONDS = 30 * 24 * 3600;

/** A random split of requests between two backends. */
export interface TrafficSplit {
  /** Name that seeds the hash: clients that are early in one split are not early in all. */
  name: string;
  /** Begins the names of its conditions, of which `<acl>_taken` says whether a request is concerned. */
  acl: string;
  /** Key of its split in the map. */
  key: string;
  sticky: Sticky;
  /** Variables of a request; what is drawn at one time for one request needs its own. */
  variables: { draw: string; split: string; client: string; newClientOf: string };
}

/** Lines of a frontend after which the variable of the draw is negative for the candidate's share of the requests. */
export function splitLines(trafficSplit: TrafficSplit): string[] {
  const { acl, key, variables } = trafficSplit;
  const taken = `if ${acl}_taken`;
  return [
    `  http-request set-var(${variables.draw}) rand(${SPLIT_PARTS}) ${taken}`,
    ...stickyLines(trafficSplit),
    `  http-request set-var(${variables.split}) str(${key}),map_str_int(${SPLITS_FILE},0) ${taken}`,
    `  http-request set-var(${variables.draw}) var(${variables.draw}),sub(${variables.split}) ${taken}`,
  ];
}

/** If a request lacks the sticky key, its variable is not set and the random number stays. */
function stickyLines({ name, acl, sticky, variables }: TrafficSplit): string[] {
  const taken = `if ${acl}_taken`;
  const setDraw = (fetch: string) =>
    `  http-request set-var(${variables.draw}) ${fetch},xxh32(${seedOf(name)}),mod(${SPLIT_PARTS}) ${taken}`;
  switch (sticky.by) {
    case "none":
      return [];
    case "header":
      return [setDraw(`req.fhdr(${sticky.name})`)];
    case "source":
      return [setDraw("src")];
    case "path":
      return [setDraw("path")];
    case "cookie":
      return [
        `  acl ${acl}_known req.cook(${sticky.name}) -m reg -- '^[0-9]{1,10}$'`,
        `  http-request set-var(${variables.client}) req.cook(${sticky.name}) ${taken} ${acl}_known`,
        // As a text from the first request on: a number has another hash.
        `  http-request set-var-fmt(${variables.client}) %[rand] ${taken} !${acl}_known`,
        `  http-request set-var(${variables.newClientOf}) str(${name}) ${taken} !${acl}_known`,
        setDraw(`var(${variables.client})`),
        `  acl ${acl}_new var(${variables.newClientOf}) -m str -- ${name}`,
        ...[
          ["; secure", "{ ssl_fc }"],
          ["", "!{ ssl_fc }"],
        ].map(
          ([secure, when]) =>
            `  http-response add-header set-cookie "${sticky.name}=%[var(${variables.client})]; path=/; max-age=${COOKIE_SECONDS}; httponly; samesite=lax${secure}" if ${acl}_new ${when}`,
        ),
      ];
  }
}

function seedOf(name: string): number {
  return createHash("sha256").update(name).digest().readUInt32BE(0) >>> 1;
}
