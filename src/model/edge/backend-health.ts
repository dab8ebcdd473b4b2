/** A server of a backend, and whether it takes requests now. */
export interface ServerHealth {
  /** As declared; HAProxy's own name of one that somebody added. */
  name: string;
  /** Why it takes no requests, such as `in maintenance by hand` or `DOWN: L4CON`; left out where it takes them. */
  out?: string;
  /** Difference from the declaration, such as `is in maint, not ready`; left out where it does not. */
  differs?: string;
}

/** Whether a backend has servers that take requests now. */
export interface BackendHealth {
  /** Frontends and routes that lead requests to it, such as `frontend http` or `route api`; empty if there are none. */
  from: string[];
  /** Routes whose candidate it is, whose stable backend takes its share while none of its servers can. @default none */
  candidateOf?: string[];
  /** Whether it is declared: a frontend may lead to one that is not there yet. */
  declared: boolean;
  servers: ServerHealth[];
  /** Whether it has a server that takes requests once HAProxy is as declared. */
  mendable: boolean;
}

/** Whether a server of a backend takes requests. */
export function takesRequests({ servers }: Pick<BackendHealth, "servers">): boolean {
  return servers.some(({ out }) => out === undefined);
}

/** Whether every request that is led to a backend is answered with 503. */
export function isOut(health: BackendHealth): boolean {
  return health.from.length > 0 && !takesRequests(health);
}

/** Says how a backend that is down fails requests, and why it is down. */
function outageText(backend: string, { from, declared, servers }: BackendHealth): string {
  if (!declared)
    return `${from.join(" and ")} ${from.length > 1 ? "lead" : "leads"} to backend ${backend}, which is not there: every request is answered with 503`;
  const text = `backend ${backend} answers every request with 503`;
  if (servers.length === 0) return `${text}: it has no servers`;
  const states = servers.map(({ name, out }) => `${name} ${out}`).join(", ");
  return servers.length === 1
    ? `${text}: its only server takes none (${states})`
    : `${text}: none of its ${servers.length} servers takes requests (${states})`;
}

/** Whether the share of a candidate goes to the stable backend, since none of its servers takes requests. */
export function fallsBack(health: BackendHealth): boolean {
  return (health.candidateOf ?? []).length > 0 && !takesRequests(health);
}

/** Says where the share of a candidate goes that takes no requests, and why it does not. */
export function fallbackText(backend: string, { candidateOf = [], servers }: BackendHealth): string {
  const states = servers.map(({ name, out }) => `${name} ${out}`).join(", ") || "it has no servers";
  const routes = candidateOf.map((route) => `route ${route}`).join(" and ");
  return `candidate ${backend} of ${routes} takes no requests (${states}): its share goes to the stable backend`;
}

/** Says that a backend's requests fail, or go to the stable backend; undefined if neither is so. */
export function downText(backend: string, health: BackendHealth): string | undefined {
  if (isOut(health)) return outageText(backend, health);
  return fallsBack(health) ? fallbackText(backend, health) : undefined;
}

/** Says which share of a backend's requests fails. */
export function errorsText(backend: string, { answered, failed }: { answered: number; failed: number }): string {
  return `backend ${backend} answered ${failed} of the last minute's ${answered} requests with a status from 500 (${Math.round((100 * failed) / answered)}%): see the output of its servers`;
}
