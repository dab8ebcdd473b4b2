import type { SupervisedProcess, SupervisionContext } from "../supervise/supervised-process";
import { fromLabels, type Labels, toLabels } from "./labels";
import { factsOf } from "./launch-spec";

/**
 * The labels of a running process with all that can be changed while it runs: how it drains and stops. What it is (its
 * release, its port, its user) is as it was started.
 */
export function currentLabels(
  { instance, drainMs }: SupervisedProcess,
  { processes, edgeAddress }: SupervisionContext,
): Labels | undefined {
  const stored = fromLabels(processes.get(instance.id)?.labels ?? {});
  const context = { edgeAddress: edgeAddress(instance.pool), drainMs, hostEnv: process.env };
  let current: Labels | undefined;
  try {
    current = fromLabels(toLabels(instance, factsOf(instance, context), { drainMs, account: undefined }));
  } catch {
    // A variable of the agent's environment that a template names is gone: it ends as it was started to.
    return stored;
  }
  if (stored === undefined || current === undefined) return stored;
  const { stopSignal, graceMs, quietMs, workMs, nonBlocking, commands } = current;
  return { ...stored, drainMs, stopSignal, graceMs, quietMs, workMs, nonBlocking, commands };
}
