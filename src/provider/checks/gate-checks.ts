import type { PrometheusSliGate } from "../../model/gate/gate";
import type { Stage } from "../../model/route/stages";
import { milliseconds } from "../../model/types/duration";
import { checkQuery, parityProblems } from "../gates";
import type { Context, Failure } from "../server";

/** Time that a preview waits for a Prometheus server, in milliseconds, where a gate's own timeout is not shorter. */
const PATIENCE_MS = 5000;

/**
 * Checks gates of some stages before they are watched: whether the files of a parity gate can be read, and what each
 * Prometheus server says of its queries. What no retry will mend is a failure; a server that can't be reached from
 * here, or has no data now, is only warned about.
 */
export async function gateFailures(stages: readonly Stage[], { log, signal }: Context): Promise<Failure[]> {
  const asked = new Map<string, ReturnType<typeof checkQuery>>();
  const ask = (gate: PrometheusSliGate) => {
    const { url, query, quantile, errorRatio } = gate;
    const key = JSON.stringify([url, query, quantile, errorRatio]);
    const timeout = AbortSignal.timeout(Math.min(PATIENCE_MS, milliseconds(gate.timeout)));
    const answer = asked.get(key) ?? checkQuery(gate, AbortSignal.any([signal, timeout]));
    asked.set(key, answer);
    return answer;
  };
  const each = stages.flatMap(({ gates }, stage) =>
    gates.map(async (gate, index): Promise<Failure[]> => {
      const property = `stages[${stage}].gates[${index}]`;
      if (gate.kind === "parity")
        return (await parityProblems(gate)).map(({ property: own, message }) => ({
          property: `${property}.${own}`,
          reason: message,
        }));
      if (gate.kind !== "sli" || gate.source !== "prometheus") return [];
      const { problem, warning } = await ask(gate);
      if (warning !== undefined) log.warn(`${property}: ${warning}`);
      return problem === undefined ? [] : [{ property, reason: problem }];
    }),
  );
  return (await Promise.all(each)).flat();
}
