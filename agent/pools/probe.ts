import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { milliseconds } from "../../model/duration";
import type { Health } from "../../model/pool";

/** Time that a probe must have had, less where its own timeout is, for its failure to say something, in milliseconds. */
const TELLING_MS = 250;

/** Result of one probe: nothing when it was good, else why it was not. */
export type ProbeResult = string | undefined;

/** One HTTP probe of the loopback address: 2xx within `ms` milliseconds is healthy. */
export function probe(
  port: number,
  { path, ms }: { path: string; ms: number },
  signal: AbortSignal,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const call = request({
      host: "127.0.0.1",
      port,
      path,
      agent: false,
      headers: { "user-agent": "sluice-health" },
      signal,
    });
    const timer = setTimeout(() => call.destroy(new Error(`no answer within ${ms} ms`)), ms);
    const finish = (result: ProbeResult) => {
      clearTimeout(timer);
      resolve(result);
    };
    call.on("response", (response) => {
      response.resume();
      const status = response.statusCode ?? 0;
      response.on("end", () => finish(status >= 200 && status < 300 ? undefined : `GET ${path} answered ${status}`));
      response.on("error", (error) => finish(error.message));
    });
    call.on("error", (error) => finish(error.message));
    call.end();
  });
}

/**
 * Waits until a probe is good. Rejects when the deadline passes, with the last probe's reason, or when `signal` aborts.
 */
export async function untilHealthy(port: number, health: Health, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + milliseconds(health.deadline);
  await sleep(milliseconds(health.startDelay), undefined, { signal });
  const timeout = milliseconds(health.timeout);
  let last: ProbeResult;
  while (performance.now() < deadline) {
    const left = Math.ceil(deadline - performance.now());
    const result = await probe(port, { path: health.path, ms: Math.min(timeout, left) }, signal);
    signal.throwIfAborted();
    if (result === undefined) return;
    // A probe that the deadline cuts short tells less than the one before it.
    if (last === undefined || left >= Math.min(timeout, TELLING_MS)) last = result;
    await sleep(Math.min(milliseconds(health.interval), Math.max(1, deadline - performance.now())), undefined, {
      signal,
    });
  }
  throw new Error(`not healthy within ${health.deadline}: ${last ?? "not probed yet"}`);
}
