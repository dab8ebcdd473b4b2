import { asksPrometheus, type PrometheusSliGate } from "../../model/gate/gate";
import type { Stage } from "../../model/route/stages";
import { formatMilliseconds, milliseconds } from "../../model/types/duration";
import { checkQuery, parityProblems } from "../gates";
import type { Context, Failure } from "../server";

/** Time that a preview waits for a Prometheus server, in milliseconds, where a gate's own timeout is not shorter. */
const PATIENCE_MS = 5000;

/**
 * Checks gates of some stages before they are watched: whether the files of a parity gate can be read, and what each
 * Prometheus server says of its queries. What no retry will mend is a failure; a server that can't be reached from
 * here, or has no data now, is only warned about.
 *
 * @param judgesPast whether they are probed before anything is changed
 */
export async function gateFailures(
  stages: readonly Stage[],
  { log, signal }: Context,
  { judgesPast = false } = {},
): Promise<Failure[]> {
  const asked = new Map<string, ReturnType<typeof checkQuery>>();
  const ask = (gate: PrometheusSliGate, windowMs: number | undefined) => {
    const { url, query, quantile, errorRatio } = gate;
    const key = JSON.stringify([url, query, quantile, errorRatio, windowMs]);
    const timeout = AbortSignal.timeout(Math.min(PATIENCE_MS, milliseconds(gate.timeout)));
    const answer = asked.get(key) ?? checkQuery(gate, windowMs, AbortSignal.any([signal, timeout]));
    asked.set(key, answer);
    return answer;
  };
  const each = stages.flatMap(({ gates, window }, stage) =>
    gates.map(async (gate, index): Promise<Failure[]> => {
      const property = `stages[${stage}].gates[${index}]`;
      if (gate.kind === "parity")
        return (await parityProblems(gate)).map(({ property: own, message }) => ({
          property: `${property}.${own}`,
          reason: message,
        }));
      if (!asksPrometheus(gate)) return [];
      const { problem, warning, heldMs } = await ask(
        gate,
        judgesPast ? undefined : milliseconds(gate.window ?? window),
      );
      if (warning !== undefined) log.warn(`${property}: ${warning}`);
      if (heldMs !== undefined)
        log.info(
          `${property}: its query looks ${formatMilliseconds(heldMs)} back, and is watched for so long: no older sample is of this release`,
        );
      return problem === undefined ? [] : [{ property, reason: problem }];
    }),
  );
  return (await Promise.all(each)).flat();
}
