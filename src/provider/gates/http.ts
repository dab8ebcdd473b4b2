import type { HttpGate } from "../../model/gate/gate";
import type { Probe } from "../../model/gate/verdict";
import { type ProbeContext, probeResult } from "./context";
import { get, withoutPassword } from "./fetch";

/** Asks a URL. No answer at all is no verdict. */
export async function probeHttp({ url, statuses, contains }: HttpGate, { signal }: ProbeContext): Promise<Probe> {
  const started = performance.now();
  const { status, text } = await get(url, signal);
  const values = { status, ms: Math.round(performance.now() - started) };
  const good = statuses === undefined ? status >= 200 && status < 300 : statuses.includes(status);
  if (!good) return probeResult("fail", `GET ${withoutPassword(url)} answered ${status}`, values);
  if (contains !== undefined && !text.includes(contains))
    return probeResult("fail", `GET ${withoutPassword(url)} answered without ${JSON.stringify(contains)}`, values);
  return probeResult("pass", `GET answered ${status} in ${values.ms} ms`, values);
}
