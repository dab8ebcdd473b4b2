import type { StepInput } from "../../../src/model/protocol/transaction";
import type { PoolInputs } from "../../../src/provider/resources/pool-inputs";
import { promote } from "../../../src/provider/rollout/pool-rollout";
import type { Context } from "../../../src/provider/server";

type StartStep = StepInput & { verb: "pool.start" };

const silent = () => undefined;

/**
 * Does what `pulumi up` does for one pool, without the engine: promotes a release by the provider's own code.
 *
 * @param canary the candidate that the pool declares, where it has one
 * @throws why the promotion failed
 */
export async function promoteBy(
  socket: string,
  step: StartStep,
  { canary, signal = new AbortController().signal }: { canary?: PoolInputs["canary"]; signal?: AbortSignal } = {},
): Promise<void> {
  const context: Context = {
    urn: `urn:pulumi:dev::faults::sluice:index:Pool::${step.pool}`,
    name: step.pool,
    type: "sluice:index:Pool",
    preview: false,
    signal,
    log: { debug: silent, info: silent, warn: silent, error: silent, progress: silent },
    secrets: [],
  };
  const declared = { ...step.spec, ...(canary === undefined ? {} : { canary }) };
  const inputs = { agent: { directory: "/", socket }, name: step.pool, ...declared } as unknown as PoolInputs;
  await promote(inputs, step, context);
}
