import type { EdgeAnswer } from "../../agent/api/answers";
import { downText, errorsText, fallsBack, isOut } from "../../model/edge/backend-health";
import { WAITING } from "../../model/process/takeover";
import type { StatusProblem } from "./schema";

/** Backends of an edge that answer with 503, or many requests with an error of their own. */
export function outages({ name, live, backends, errors = {} }: EdgeAnswer): StatusProblem[] {
  const subject = `edge ${name}`;
  // One that does not listen yet gets no requests.
  if (live.haproxy !== "running" || Object.values(live.frontends).every((status) => status === WAITING)) return [];
  if (backends === undefined)
    return [
      {
        subject,
        message: "its agent does not report whether its backends take requests: pulumi up replaces the agent",
      },
    ];
  const out = Object.entries(backends).flatMap(([backend, health]) => {
    const remedy = health.mendable ? "; pulumi up corrects it" : "";
    const text = downText(backend, health);
    if (text === undefined) return [];
    return [{ subject, message: `${text}${remedy}`, ...(isOut(health) && { outage: true }) }];
  });
  const failing = Object.entries(errors).flatMap(([backend, share]) => {
    const health = backends[backend];
    if (health === undefined || isOut(health)) return [];
    return [{ subject, message: errorsText(backend, share), outage: true }];
  });
  return [...out, ...failing];
}

/**
 * Servers of an edge that take no requests although they should, or differ from what is declared. Of a pool's server that is
 * down its process tells.
 *
 * @param o.poolOf the pool that serves a backend; undefined if none does
 */
export function serverProblems(
  { name, live, backends = {} }: EdgeAnswer,
  { poolOf, isChanging }: { poolOf: (backend: string) => string | undefined; isChanging: (backend: string) => boolean },
): StatusProblem[] {
  if (live.haproxy !== "running") return [];
  return Object.entries(backends).flatMap(([backend, health]) => {
    if (isChanging(backend)) return [];
    const pool = poolOf(backend);
    return health.servers.flatMap(({ name: server, out, differs }): StatusProblem[] => {
      const subject =
        pool === undefined ? `server ${server} of backend ${backend} on edge ${name}` : `${server} of pool ${pool}`;
      const its = pool === undefined ? "" : "its server in HAProxy ";
      if (differs !== undefined) return [{ subject, message: `${its}${differs}: pulumi up corrects it` }];
      // One that is declared so takes none on purpose.
      return pool === undefined && out?.startsWith("DOWN") && !isOut(health) && !fallsBack(health)
        ? [{ subject, message: `takes no requests: it is ${out}` }]
        : [];
    });
  });
}
