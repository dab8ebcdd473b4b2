import { forAgent, poolDeclarations } from "../../model/policy/declared";
import { inPlaceWatch } from "../../model/pool/in-place";
import { poolSpecWith } from "../../model/pool/pool";
import { candidateOf, candidateShare } from "../../model/pool/pool-share";
import { poolParts } from "../../model/protocol/live";
import type { Claim } from "../../model/protocol/ownership";
import { allDifferences } from "../changes/committed";
import { changeOf } from "../changes/pool-change";
import { poolComparison } from "../changes/pool-comparison";
import { logPoolPlan } from "../changes/pool-plan";
import { canaryGateFailures, candidateFailures } from "../checks/canary-check";
import { inPlaceFailures } from "../checks/in-place-check";
import { moveFailures, parseInputs, renameFailures, withLive } from "../checks/inputs";
import { eachWhenKnown } from "../checks/known";
import { removeClaim, stillOwns } from "../checks/ownership";
import { withArtifact } from "../rollout/artifact";
import { replaceInPlace, type StartStep } from "../rollout/in-place";
import { promote } from "../rollout/pool-rollout";
import { type Context, type Failure, isUnknown, type Outputs, type Resource, UNKNOWN } from "../server";
import { liveFailures, targetOn, withAgent } from "./agent-ref";
import { ownedChanges, ownedRead } from "./owned";
import { type DeclaredPool, type PoolInputs, type PoolState, poolOwn, strategyFailures } from "./pool-inputs";
import { removePool } from "./pool-removal";
import { secretFailures, secretInputs, secretNames } from "./pool-secrets";

const changes = ownedChanges<PoolInputs, PoolState>({
  id: ({ name }) => name,
  plan: (news, context, before) => logPoolPlan(before, news, (given) => startStep(given, context), context),
  apply,
  outputsOf,
});

/** The processes of a release on a host, and the backends that they serve. A new release is promoted side by side, or in place. */
export const poolResource: Resource<PoolInputs, PoolState> = {
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
    const live =
      known && valid
        ? [
            ...(await hostFailures(values, startStep(values, context), olds === undefined ? context.urn : undefined)),
            ...(await inPlaceFailures(values, context)),
            ...(await canaryGateFailures(values, context)),
          ]
        : [];
    return {
      failures: [...failures, ...secret, ...live],
      inputs: {
        ...withLive(values, olds, valid ? expectedLive(values) : UNKNOWN, context.urn),
        change: valid ? await changeOf(olds, values, () => startStep(values, context)) : UNKNOWN,
        ...(valid ? secretInputs(values, secrets) : {}),
      },
    };
  },

  async diff(context, request) {
    const entries = await allDifferences(context, request, {
      // The artifact's path on the deploying machine says nothing: its digest is part of the release's path.
      ignored: ["agent.socket", "artifact", "canary.artifact", ...Object.keys(poolDeclarations)],
      expected: expectedLive,
      comparisons: (news) => [poolComparison(news, startStep(news, context))],
    });
    return { entries };
  },

  async create(context, request) {
    const { name } = request.inputs;
    // Known in a preview, too.
    return { ...(isUnknown(name) ? {} : { id: name }), ...(await changes.create(context, request)) };
  },

  read: ownedRead("pool", (client, id) => client.pool(id)),

  update: changes.update,

  targets({ agent, name }) {
    return [targetOn(agent, `pool/${name}`)];
  },

  removal({ name, live, serves }) {
    const count = Object.keys(live.processes).length + Object.keys(live.candidate?.processes ?? {}).length;
    const traffic = serves === undefined ? "traffic ends" : `traffic goes to the other servers of ${serves.backend}`;
    return `stops ${name}: ${count} ${count === 1 ? "process" : "processes"}, ${traffic}`;
  },

  async delete(context, { id, state }) {
    await withAgent(state.agent, async (client) => {
      const found = await client.pool(id);
      if (found !== undefined && !stillOwns(found, state, { what: `pool ${id}`, log: context.log })) return;
      await removePool(client, { ...state, name: id }, context, removeClaim(state));
    });
  },
};

/** The host's objections to a release, except that it is missing if the update brings it. */
async function hostFailures(
  { agent, artifact, canary }: DeclaredPool,
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
function outputsOf(inputs: PoolInputs): Outputs<PoolState> {
  return { ...inputs, live: expectedLive(inputs) };
}

/** Reality as it must be, as far as it can be told. */
function expectedLive(inputs: DeclaredPool) {
  return eachWhenKnown(inputs, poolParts);
}

async function apply(pool: PoolInputs, context: Context, claim: Claim): Promise<void> {
  const start = startStep(pool, context);
  if (pool.strategy === "in-place") await replaceInPlace(pool, start, context, claim);
  else await promote(pool, start, context, { claim });
}

/** The step that starts what is declared: the release, and the candidate where it takes part. */
function startStep(inputs: DeclaredPool & Partial<PoolInputs>, context: Context): StartStep {
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
  } = inputs;
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
