import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { milliseconds } from "../../model/duration";
import type { Health } from "../../model/pool";

/** Result of one probe: nothing when it was good, else why it was not. */
export type ProbeResult = string | undefined;

/** One HTTP probe of the loopback address: 2xx is healthy. */
export function probe(port: number, { path, timeout }: Health, signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const ms = milliseconds(timeout);
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
  let last: ProbeResult = "not probed yet";
  while (performance.now() < deadline) {
    last = await probe(port, health, signal);
    signal.throwIfAborted();
    if (last === undefined) return;
    await sleep(Math.min(milliseconds(health.interval), Math.max(1, deadline - performance.now())), undefined, {
      signal,
    });
  }
  throw new Error(`not healthy within ${health.deadline}: ${last}`);
}
