import type { ProcessState } from "../process/process-state";
import type { ProcessTemplate } from "../process/process-template";
import type { Health } from "../process/supervision";
import { describeRollout, type Rollout } from "../route/stages";
import { quoteValue } from "../types/messages";
import { LIVE_PROPERTIES, sameValue, templateIdentity } from "./identity";
import type { PoolSpec } from "./pool";
import { replicaKeys } from "./pool-instances";
import { type CandidateOutcome, candidateOf, isFinishing, type PoolCanary } from "./pool-share";

type Spec = Pick<PoolSpec, "release" | "processes" | "drainDeadline"> & { canary?: PoolCanary | undefined };

/** A replica of a service that does not run. */
export interface DownReplica {
  process: string;
  key: string;
  state: ProcessState;
}

const UNDO = "if anything fails before the end, everything is put back as it was and the update fails";

/**
 * Describes an update of a pool, in sentences for a preview.
 *
 * @param before the pool as it was declared at the last update; undefined for a new one
 * @param down what is down of its services
 */
export function promotionPlan(before: Spec | undefined, after: Spec, down: readonly DownReplica[] = []): string[] {
  if (before === undefined)
    return [`starts release ${after.release.id}: ${keysOf(after, START_ORDER).join(", ")}`, ...healthLines(after)];
  const services = [...downLines(down, after), ...serviceLines(before, after, down)];
  if (isFinishing(before, after))
    return [
      `makes the candidate ${after.release.id} the stable release with the processes that it has: none is restarted`,
      "the edge moves its traffic there; no request is dropped",
      ...services,
      `${before.release.id} drains up to ${after.drainDeadline} in the background, then stops`,
      UNDO,
    ];
  const changed = [
    ...(before.release.path === after.release.path ? [] : ["release.path"]),
    ...(before.release.revision === after.release.revision ? [] : ["release.revision"]),
    ...changedTemplates(before, after),
  ];
  if (before.release.id === after.release.id && changed.length === 0)
    return [...liveLines(before, after), ...downLines(down, after)];
  const title =
    before.release.id === after.release.id
      ? `starts release ${after.release.id} anew, since ${changed.join(", ")} changed`
      : `promotes ${before.release.id} -> ${after.release.id}`;
  const singletons = keysOf(after, ["singleton"]);
  return [
    `${title}, side by side: ${keysOf(after, ["companion", "proxied"]).join(", ")} start beside the release that serves`,
    ...healthLines(after),
    "the edge switches by its runtime API; no request is dropped",
    ...services,
    ...(singletons.length === 0 ? [] : [`${singletons.join(", ")}: the old one stops before the new one starts`]),
    `${before.release.id} drains up to ${after.drainDeadline} in the background, then stops`,
    UNDO,
  ];
}

/**
 * Describes an update of a pool's candidate, in sentences for a preview.
 *
 * @param before the current candidate and its outcome; undefined if there is none
 * @param rollout the rollout to its stage
 */
export function candidatePlan(
  before: { release: string; outcome: CandidateOutcome } | undefined,
  after: Spec,
  rollout: Rollout,
): string[] {
  const { canary } = after;
  const ends = before?.outcome === "ends" || (before?.outcome === "stays" && rollout.to.split === 0);
  const off = ends
    ? [`the candidate ${before.release} loses its requests at once, without gates, then drains and stops`]
    : [];
  if (canary === undefined || rollout.to.split === 0) return off;
  const title = `starts release ${canary.release.id} beside it as its candidate${differing(after)}`;
  const starts = before?.outcome === "stays" ? [] : [title, ...healthLines(candidateOf(after) ?? after)];
  return [...off, ...starts, ...describeRollout(rollout, canary)];
}

/** Names the processes in which a candidate is not as the pool. */
function differing(pool: Spec): string {
  const names = changedTemplates(pool, candidateOf(pool) ?? pool);
  return names.length === 0 ? "" : `, with its own ${names.join(", ")}`;
}

const START_ORDER = ["service", "companion", "proxied", "singleton"] as const;

function keysOf({ processes }: Spec, policies: readonly ProcessTemplate["policy"][]): string[] {
  return policies.flatMap((policy) =>
    Object.entries(processes).flatMap(([id, template]) =>
      template.policy === policy ? replicaKeys(id, template) : [],
    ),
  );
}

function healthLines({ processes }: Pick<Spec, "processes">): string[] {
  return Object.entries(processes).flatMap(([id, { health }]) =>
    health === undefined ? [] : [`${id} must ${capitalised(health)} within ${health.deadline} of its start`],
  );
}

function capitalised({ path, tcp, command, line }: Health): string {
  if (path !== undefined) return `answer GET ${path} well`;
  if (tcp !== undefined) return "take connections on its port";
  if (command !== undefined) return `pass its check ${command[0]}`;
  return `print ${quoteValue(line)}`;
}

/** Processes whose template differs in what is not live. */
function changedTemplates(before: Pick<Spec, "processes">, after: Pick<Spec, "processes">): string[] {
  const fixed = (template: ProcessTemplate | undefined) => (template === undefined ? "" : templateIdentity(template));
  const names = [...new Set([...Object.keys(before.processes), ...Object.keys(after.processes)])];
  return names.filter((id) => fixed(before.processes[id]) !== fixed(after.processes[id]));
}

function liveLines(before: Spec, after: Spec): string[] {
  const changed = Object.entries(after.processes).flatMap(([id, template]) => {
    const old = before.processes[id] ?? template;
    const scaled = old.replicas === template.replicas ? [] : [`${old.replicas} -> ${template.replicas} replicas`];
    const settings = LIVE_PROPERTIES.filter(
      (property) => property !== "replicas" && !sameValue(propertyOf(old, property), propertyOf(template, property)),
    );
    const parts = [...scaled, ...settings];
    return parts.length === 0 ? [] : [`${id}: ${parts.join(", ")}, live`];
  });
  return changed.length === 0
    ? ["applied live: no process is restarted"]
    : [...changed, "no process that stays is restarted"];
}

function propertyOf(template: ProcessTemplate, property: string): unknown {
  return Object.entries(template).find(([key]) => key === property)?.[1];
}

/**
 * Says how a release treats services that are down.
 *
 * @param pool said of them, where that is not clear
 */
export function downLines(
  down: readonly DownReplica[],
  { release, processes }: Pick<Spec, "release" | "processes">,
  pool?: string,
): string[] {
  const of = pool === undefined ? "" : ` of pool ${pool}`;
  return down.flatMap(({ process, key, state }) =>
    processes[process]?.policy === "service"
      ? [`${key}${of} is down (${state}): ${release.id}'s template starts it`]
      : [],
  );
}

/** Describes what a promotion changes for services, which outlive releases. */
function serviceLines(before: Spec, after: Spec, down: readonly DownReplica[]): string[] {
  return Object.entries(after.processes).flatMap(([id, template]) => {
    const old = before.processes[id];
    if (template.policy !== "service" || old?.policy !== "service") return [];
    if (down.some(({ process }) => process === id)) return [];
    if (template.handoff) return [`${id}: the new one takes its port over before the old one leaves`];
    return templateIdentity(old) === templateIdentity(template)
      ? []
      : [`${id} goes on as it is: its change is in force from its next restart`];
  });
}
