import { z } from "zod";
import { messageOf } from "../../../model/types/errors";
import { name } from "../../../model/types/names";
import { ApiError } from "../../api/api-error";
import type { SupervisedProcess } from "./supervised-process";
import type { Supervisor } from "./supervisor";

/** In this order whole pools restart: what others depend on first. */
const ORDER = ["service", "companion", "proxied", "singleton"] as const;

/** Selects processes of a pool to restart: all, or those that match everything given. */
export const restartRequest = z.strictObject({
  process: name.optional(),
  /** 0, 1, ... of a process. */
  replica: z.int().min(0).max(63).optional(),
  policy: z.enum(["proxied", "companion", "singleton", "service"]).optional(),
  /** One after the other, each up before the next. @default false: those of a policy at once */
  rolling: z.boolean().default(false),
});
export type RestartRequest = z.input<typeof restartRequest>;

export interface RestartAnswer {
  /** Keys such as `web#0`, in the order in which they were restarted. */
  restarted: string[];
}

/**
 * Restarts processes that should run, and revives those that have failed. Proxied ones drain first, and their traffic goes
 * to the others meanwhile.
 *
 * @param signal aborts between two restarts
 * @throws Problem `unknown-process`, `would-cut` where nobody would take the traffic, `not-up` where one does not come up
 */
export async function restartProcesses(
  supervisor: Supervisor,
  pool: string,
  request: z.output<typeof restartRequest>,
  signal: AbortSignal,
): Promise<RestartAnswer> {
  const chosen = choose(supervisor.supervisedOf(pool), pool, request);
  await assertNotCut(supervisor, pool, chosen, request.rolling);
  const restarted: string[] = [];
  const restart = async (supervised: SupervisedProcess) => {
    await supervisor.restarter.restart(supervised, "manual");
    restarted.push(supervised.instance.key);
  };
  for (const policy of ORDER) {
    const tier = chosen.filter(({ instance }) => instance.template.policy === policy);
    if (request.rolling)
      for (const supervised of tier) {
        if (signal.aborted) return { restarted };
        await restart(supervised);
      }
    else {
      const results = await Promise.allSettled(tier.map(restart));
      const failures = results.flatMap((result) => (result.status === "rejected" ? [messageOf(result.reason)] : []));
      if (failures.length > 0) throw new ApiError(422, "not-up", failures.join("\n"), { restarted });
      if (signal.aborted) return { restarted };
    }
  }
  return { restarted };
}

function choose(
  supervised: SupervisedProcess[],
  pool: string,
  { process, replica, policy }: RestartRequest,
): SupervisedProcess[] {
  const chosen = supervised.filter(
    ({ instance }) =>
      (process === undefined || instance.process === process) &&
      (replica === undefined || instance.index === replica) &&
      (policy === undefined || instance.template.policy === policy),
  );
  if (chosen.length > 0) return chosen.toSorted((a, b) => (a.instance.id < b.instance.id ? -1 : 1));
  const asked = [process, replica === undefined ? undefined : `replica ${replica}`, policy]
    .filter((part) => part !== undefined)
    .join(" ");
  const known = supervised.map(({ instance }) => instance.key).toSorted();
  throw new ApiError(
    404,
    "unknown-process",
    `pool ${pool} has no process ${asked}: use one of ${known.join(", ") || "none (nothing should run)"}`,
    { known },
  );
}

async function assertNotCut(
  supervisor: Supervisor,
  pool: string,
  chosen: SupervisedProcess[],
  rolling: boolean,
): Promise<void> {
  // Before anything is restarted, not in the middle of it.
  for (const supervised of chosen.filter(({ instance }) => instance.inPlace)) {
    const cutting = await supervisor.restarter.cutReason(supervised);
    if (cutting !== undefined) throw wouldCut(pool, cutting);
  }
  const taking = new Set(await supervisor.restarter.receivingPorts(pool));
  const cut = chosen.filter(({ instance: { port } }) => port !== undefined && taking.has(port));
  if (cut.length === 0 || cut.length < taking.size) return;
  const keys = cut.map(({ instance }) => instance.key).join(", ");
  if (cut.length === 1)
    throw wouldCut(
      pool,
      `${keys} is the only replica that takes the traffic: declare a second replica, or deploy, which is side by side`,
    );
  if (!rolling)
    throw wouldCut(
      pool,
      `${keys} are all the replicas that take the traffic: restart them rolling, one after the other`,
    );
}

function wouldCut(pool: string, why: string): ApiError {
  return new ApiError(409, "would-cut", `the restart would cut the traffic of pool ${pool}: ${why}`);
}
