import { forAgent, poolDeclarations } from "../../model/policy/declared";
import { inPlaceWatch } from "../../model/pool/in-place";
import { poolSpecWith } from "../../model/pool/pool";
import { candidateOf, candidateShare } from "../../model/pool/pool-share";
import { poolParts } from "../../model/protocol/live";
import type { Claim } from "../../model/protocol/ownership";
import { committedDifferences } from "../changes/committed";
import { changeOf } from "../changes/pool-change";
import { poolComparison } from "../changes/pool-comparison";
import { logPoolPlan } from "../changes/pool-plan";
import { canaryGateFailures, candidateFailures } from "../checks/canary-check";
import { inPlaceFailures } from "../checks/in-place-check";
import { differences, moveFailures, parseInputs, renameFailures, withLive } from "../checks/inputs";
import { eachWhenKnown } from "../checks/known";
import {
  changeClaim,
  createClaim,
  type Declared,
  ownerAfter,
  ownerInPreview,
  ownerSeen,
  removeClaim,
  stillOwns,
} from "../checks/ownership";
import { withArtifact } from "../rollout/artifact";
import { replaceInPlace, type StartStep } from "../rollout/in-place";
import { promote } from "../rollout/pool-rollout";
import { type Context, type Failure, type Properties, type Resource, UNKNOWN } from "../server";
import { askAgent, liveFailures, targetOn, withAgent } from "./agent-ref";
import { type PoolInputs, poolOwn, strategyFailures } from "./pool-inputs";
import { removePool } from "./pool-removal";
import { secretFailures, secretInputs, secretNames } from "./pool-secrets";

/** The processes of a release on a host, and the backends that they serve. A new release is promoted side by side, or in place. */
export const poolResource: Resource = {
  type: "sluice:index:Pool",

  async check(context, { olds, news: given }) {
    const { news, failures: artifactFailures } = await withArtifact(given);
    const { failures, values, known } = parseInputs(news, {
      own: poolOwn,
      spec: poolSpecWith(secretNames(news, context).pool),
    });
    const inPlace = values.strategy === "in-place";
    if (inPlace) values.watch ??= inPlaceWatch.parse({});
    const secrets = secretNames(values, context);
    failures.push(
      ...artifactFailures,
      ...renameFailures(olds, values),
      ...moveFailures(olds, values, ["agent.directory"]),
      ...strategyFailures(values),
      ...candidateFailures(values, secrets.candidate),
    );
    const secret = secretFailures(context.secrets);
    const valid = failures.length === 0 && secret.length === 0;
    const inputs = values as unknown as PoolInputs;
    const live =
      known && valid
        ? [
            ...(await hostFailures(inputs, startStep(values, context), olds === undefined ? context.urn : undefined)),
            ...(await inPlaceFailures(inputs, context)),
            ...(await canaryGateFailures(inputs, context)),
          ]
        : [];
    return {
      failures: [...failures, ...secret, ...live],
      inputs: {
        ...withLive(values, olds, valid ? expectedLive(values) : UNKNOWN, context.urn),
        change: valid ? await changeOf(olds, inputs, () => startStep(values, context)) : UNKNOWN,
        ...(valid ? secretInputs(inputs, secrets) : {}),
      },
    };
  },

  async diff(context, request) {
    const entries = differences(request, {
      // The artifact's path on the deploying machine says nothing: its digest is part of the release's path.
      ignored: ["agent.socket", "artifact", "canary.artifact", ...Object.keys(poolDeclarations)],
      expected: expectedLive,
    });
    const newer = await committedDifferences(context, request, entries, (news) => [
      poolComparison(news as unknown as PoolInputs, startStep(news, context)),
    ]);
    return { entries: [...entries, ...newer] };
  },

  async create(context, { inputs }) {
    const id = String(inputs.name);
    if (context.preview) {
      await logPoolPlan(undefined, inputs, (given) => startStep(given, context), context);
      return { id, outputs: outputsOf(inputs) };
    }
    const claim = createClaim();
    await apply(inputs, context, claim);
    return { id, outputs: { ...outputsOf(inputs), ...ownerAfter(context, claim) } };
  },

  async read(context, { id, inputs, state }) {
    const { agent } = state as unknown as Partial<PoolInputs>;
    return askAgent(agent, context, { id, inputs, outputs: state }, async (client) => {
      const pool = await client.pool(id);
      if (pool === undefined || !stillOwns(pool, state, { what: `pool ${id}`, log: context.log })) return undefined;
      return { id, inputs, outputs: { ...state, live: pool.live, ...ownerSeen(pool, state) } };
    });
  },

  async update(context, { olds, oldInputs, news }) {
    if (context.preview) {
      await logPoolPlan(oldInputs, news, (given) => startStep(given, context), context);
      return { ...outputsOf(news), ...ownerInPreview(olds) };
    }
    const claim = changeClaim(olds);
    await apply(news, context, claim);
    return { ...outputsOf(news), ...ownerAfter(context, claim) };
  },

  targets(properties) {
    const { agent, name } = properties as unknown as PoolInputs;
    return [targetOn(agent, `pool/${name}`)];
  },

  removal(state) {
    const { name, live, serves } = state as unknown as PoolInputs;
    const count = Object.keys(live.processes).length + Object.keys(live.candidate?.processes ?? {}).length;
    const traffic = serves === undefined ? "traffic ends" : `traffic goes to the other servers of ${serves.backend}`;
    return `stops ${name}: ${count} ${count === 1 ? "process" : "processes"}, ${traffic}`;
  },

  async delete(context, { id, state }) {
    const pool = state as unknown as PoolInputs;
    await withAgent(pool.agent, async (client) => {
      const found = await client.pool(id);
      if (found !== undefined && !stillOwns(found, state, { what: `pool ${id}`, log: context.log })) return;
      await removePool(client, { ...pool, name: id }, context, removeClaim(state));
    });
  },
};

/** The host's objections to a release, except that it is missing if the update brings it. */
async function hostFailures(
  { agent, artifact, canary }: PoolInputs,
  start: StartStep,
  creator: string | undefined,
): Promise<Failure[]> {
  const failures = await liveFailures(agent, start, creator);
  const brought = [
    ...(artifact === undefined ? [] : ["release.path"]),
    ...(canary?.artifact === undefined ? [] : ["canary.release.path"]),
  ];
  return failures.filter(({ property }) => !brought.includes(property));
}

/** The inputs, and reality as it now must be. */
function outputsOf(inputs: Properties): Properties {
  return { ...inputs, live: expectedLive(inputs) };
}

/** Reality as it must be, as far as it can be told. */
function expectedLive(inputs: Properties) {
  return eachWhenKnown(inputs as unknown as PoolInputs, poolParts);
}

async function apply(inputs: Properties, context: Context, claim: Claim): Promise<void> {
  const pool = inputs as unknown as PoolInputs;
  const start = startStep(inputs, context);
  if (pool.strategy === "in-place") await replaceInPlace(pool, start, context, claim);
  else await promote(pool, start, context, { claim });
}

/** The step that starts what is declared: the release, and the candidate where it takes part. */
function startStep(inputs: Properties, context: Context): StartStep {
  const {
    canary,
    agent: _agent,
    name: pool,
    artifact: _artifact,
    serves: _serves,
    watch: _watch,
    live: _live,
    declaredBy: _by,
    change: _change,
    secretNames: _names,
    canarySecretNames: _canaryNames,
    ...declared
  } = inputs as unknown as PoolInputs & Declared;
  const secrets = secretNames(inputs, context);
  const candidate = candidateShare(canary) > 0 ? candidateOf({ ...declared, canary }) : undefined;
  return {
    verb: "pool.start",
    pool,
    spec: forAgent(declared, poolDeclarations),
    secrets: secrets.pool,
    ...(candidate === undefined ? {} : { canary: { ...candidate, secrets: secrets.candidate } }),
  };
}
