import { setTimeout as sleep } from "node:timers/promises";
import type { Instance } from "../../model/pool-state";
import { masked } from "../mask";
import { Problem } from "../problem";
import type { ProcessRecord } from "../processes/host";
import { titleOf } from "./launch-spec";
import { untilHealthy } from "./probe";
import { exitText, messageOf, type PoolHost, subjectOf } from "./slot";

/** Time that a process without a health check must stay up to count as started, in milliseconds. */
export const SETTLE_MS = 500;
/** Lines of output that a failure message carries. */
const TAIL_LINES = 10;

/**
 * Waits until a started process is up: healthy where it has a health check, else alive for a moment.
 *
 * @throws Problem `not-up` with its last output
 */
export async function comesUp(instance: Instance, host: PoolHost, outer: AbortSignal): Promise<void> {
  const { processes } = host;
  const { id, template, port } = instance;
  const exit = new AbortController();
  const onExit = (record: ProcessRecord) => {
    if (record.id === id) exit.abort(new Error(exitText(record)));
  };
  processes.on("exit", onExit);
  try {
    const record = processes.get(id);
    if (record?.state === "exited") onExit(record);
    const signal = AbortSignal.any([outer, exit.signal]);
    if (template.health !== undefined && port !== undefined) await untilHealthy(port, template.health, signal);
    else await sleep(SETTLE_MS, undefined, { signal });
  } catch (error) {
    outer.throwIfAborted();
    const reason = exit.signal.aborted ? messageOf(exit.signal.reason) : messageOf(error);
    throw new Problem(422, "not-up", `${titleOf(subjectOf(instance))} ${reason}${await lastOutput(instance, host)}`);
  } finally {
    processes.off("exit", onExit);
  }
}

async function lastOutput(instance: Instance, { processes, secretEnv }: PoolHost): Promise<string> {
  const lines = await processes.tail(instance.id, { lines: TAIL_LINES });
  if (lines.length === 0) return "; it printed nothing";
  // An app may print its secrets as it fails, but messages go to events, to the journal and to whoever deploys.
  const secrets = Object.values(secretEnv(instance));
  return `; its last output:\n${lines.map((line) => `  | ${masked(line, secrets)}`).join("\n")}`;
}
