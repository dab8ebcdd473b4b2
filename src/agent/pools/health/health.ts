import { setTimeout as sleep } from "node:timers/promises";
import type { Instance } from "../../../model/pool/pool-instances";
import type { Health } from "../../../model/process/supervision";
import { milliseconds } from "../../../model/types/duration";
import type { ProcessManager } from "../../processes/process-manager";
import { fromLabels } from "../launch/labels";
import { type ProbeResult, probe, probePort } from "./probe";
import { probeCommand } from "./probe-command";
import { LineProbe } from "./probe-line";

/** Time that a probe must have had, less where its own timeout is, for its failure to say something, in milliseconds. */
const MEANINGFUL_MS = 250;

/** One check of a process: undefined if it is healthy, else why it is not. */
export type HealthCheck = (ms: number, signal: AbortSignal) => Promise<ProbeResult>;

/** The health check of a pool's process; undefined if it declares no check. */
export function healthCheckOf(instance: Instance, processes: ProcessManager): HealthCheck | undefined {
  const { id, port, template } = instance;
  const { health } = template;
  if (health === undefined) return undefined;
  const { path, tcp, line } = health;
  if (path !== undefined && port !== undefined) return (ms, signal) => probe(port, { path, ms }, signal);
  if (tcp === true && port !== undefined) return (ms, signal) => probePort(port, ms, signal);
  if (line !== undefined) {
    const reader = new LineProbe(processes.outputPath(id), line);
    return () => reader.probe();
  }
  return async (ms, signal) => {
    const record = processes.get(id);
    if (record?.state !== "running") return "it does not run";
    const { commands, asUser = [] } = fromLabels(record.labels) ?? {};
    return probeCommand([...asUser, ...(commands?.health ?? [])], record, ms, signal);
  };
}

/**
 * Waits until a process is well. Rejects when the deadline passes, with the last probe's reason, or when `signal` aborts.
 */
export async function untilHealthy(check: HealthCheck, health: Health, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + milliseconds(health.deadline);
  await sleep(milliseconds(health.startDelay), undefined, { signal });
  const timeout = milliseconds(health.timeout);
  let last: ProbeResult;
  let good = 0;
  while (performance.now() < deadline) {
    const left = Math.ceil(deadline - performance.now());
    const result = await check(Math.min(timeout, left), signal);
    signal.throwIfAborted();
    good = result === undefined ? good + 1 : 0;
    if (good >= health.rise) return;
    // A probe that the deadline cuts short tells less than the one before it.
    if (result !== undefined && (last === undefined || left >= Math.min(timeout, MEANINGFUL_MS))) last = result;
    await sleep(Math.min(milliseconds(health.interval), Math.max(1, deadline - performance.now())), undefined, {
      signal,
    });
  }
  throw new Error(`not healthy within ${health.deadline}: ${last ?? "not probed often enough yet"}`);
}
