import type { PoolSpec, ProcessTemplate } from "./pool";
import { replicaKeys, templateIdentity } from "./pool-state";

type Spec = Pick<PoolSpec, "release" | "processes" | "drainDeadline">;

/**
 * What an update of a pool will do, in sentences for a preview.
 *
 * @param before the pool as it was declared at the last update; undefined for a new one
 */
export function promotionPlan(before: Spec | undefined, after: Spec): string[] {
  if (before === undefined)
    return [`starts release ${after.release.id}: ${keysOf(after, START_ORDER).join(", ")}`, ...healthLines(after)];
  const changed = [
    ...(before.release.path === after.release.path ? [] : ["release.path"]),
    ...(before.release.revision === after.release.revision ? [] : ["release.revision"]),
    ...changedTemplates(before, after),
  ];
  if (before.release.id === after.release.id && changed.length === 0) return liveLines(before, after);
  const title =
    before.release.id === after.release.id
      ? `starts release ${after.release.id} anew, since ${changed.join(", ")} changed`
      : `promotes ${before.release.id} -> ${after.release.id}`;
  const singletons = keysOf(after, ["singleton"]);
  return [
    `${title}, side by side: ${keysOf(after, ["companion", "proxied"]).join(", ")} start beside what serves`,
    ...healthLines(after),
    "the edge switches by its runtime API; no request is dropped",
    ...(singletons.length === 0 ? [] : [`${singletons.join(", ")}: the old one stops before the new one starts`]),
    `${before.release.id} drains up to ${after.drainDeadline} in the background, then stops`,
    "if anything fails before the end, everything is put back as it was and the update fails",
  ];
}

const START_ORDER = ["service", "companion", "proxied", "singleton"] as const;

function keysOf({ processes }: Spec, policies: readonly ProcessTemplate["policy"][]): string[] {
  return policies.flatMap((policy) =>
    Object.entries(processes).flatMap(([id, template]) =>
      template.policy === policy ? replicaKeys(id, template) : [],
    ),
  );
}

function healthLines({ processes }: Spec): string[] {
  return Object.entries(processes).flatMap(([id, { health }]) =>
    health === undefined ? [] : [`${id} must answer GET ${health.path} well within ${health.deadline} of its start`],
  );
}

/** Processes whose template differs in what is not live. */
function changedTemplates(before: Spec, after: Spec): string[] {
  const fixed = (template: ProcessTemplate | undefined) => (template === undefined ? "" : templateIdentity(template));
  const names = [...new Set([...Object.keys(before.processes), ...Object.keys(after.processes)])];
  return names.filter((id) => fixed(before.processes[id]) !== fixed(after.processes[id]));
}

function liveLines(before: Spec, after: Spec): string[] {
  const scaled = Object.entries(after.processes).flatMap(([id, { replicas }]) => {
    const old = before.processes[id]?.replicas ?? replicas;
    return old === replicas ? [] : [`${id}: ${old} -> ${replicas} replicas, live`];
  });
  return scaled.length === 0
    ? ["applied live: no process is restarted"]
    : [...scaled, "the other processes go on as they are"];
}
