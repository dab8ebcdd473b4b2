import { stat } from "node:fs/promises";
import { z } from "zod";
import { instancesOf } from "../../model/pool/pool-instances";
import type { Check } from "../../model/protocol/recovery";
import { absolutePath, name, releaseId } from "../../model/types/names";
import { ApiError } from "../api/api-error";
import type { Host } from "../host/host";
import { accountOf } from "../pools/launch/account";
import { launchSpec } from "../pools/launch/launch-spec";
import { problemsOf } from "../processes/command";
import { edgeAddress } from "../state/desired";

export const releaseRequest = z.strictObject({
  /** Folder of the release on the agent's host. */
  path: absolutePath,
  /** As which it would be deployed; templates may use it. */
  id: releaseId.default("checked"),
  /** @default all pools */
  pool: name.optional(),
});

/**
 * Whether a release in a folder could be started by what is deployed now: templates, working folders, and commands that are
 * found and executable. Nothing is started.
 *
 * @throws Problem `not-found` for a pool that is not there
 */
export async function checkRelease(host: Host, { path, id, pool }: z.output<typeof releaseRequest>): Promise<Check[]> {
  const { pools } = host.committed;
  if (pool !== undefined && pools[pool] === undefined)
    throw new ApiError(404, "not-found", `pool ${pool} is not on this agent: name one that it has`, {
      known: Object.keys(pools),
    });
  const names = pool === undefined ? Object.keys(pools) : [pool];
  const folder = await stat(path).catch(() => undefined);
  if (!folder?.isDirectory())
    return [
      {
        name: "folder",
        verdict: "problem",
        message: `${path} is not a folder on the agent's host: place the release there first`,
      },
    ];
  const checks = await Promise.all(names.map((each) => checkPool(host, each, { path, id })));
  const found = checks.flat();
  if (found.length > 0) return found;
  return [
    {
      name: "folder",
      verdict: "warning",
      message: "no release of any pool is deployed yet, so that nothing is known to check it by: use sluice validate",
    },
  ];
}

async function checkPool(host: Host, pool: string, release: { id: string; path: string }): Promise<Check[]> {
  const state = host.committed.pools[pool];
  if (state?.current === undefined) return [];
  const services = Object.fromEntries(
    Object.entries(state.services).map(([key, service]) => [key, { ...service, release }]),
  );
  const instances = instancesOf(pool, {
    ...state,
    services,
    current: { ...state.current, release },
    next: undefined,
  });
  const first = new Map(instances.toReversed().map((instance) => [instance.process, instance]));
  return Promise.all(
    [...first.values()].toReversed().map(async (instance): Promise<Check> => {
      const subject = `${pool}/${instance.process}`;
      try {
        const { user, group } = instance.template;
        const context = {
          account: user === undefined ? undefined : await accountOf(user, group),
          edgeAddress: edgeAddress(host.committed, state.settings.edge ?? ""),
          drainMs: 0,
          secretEnv: {},
          hostEnv: process.env,
        };
        const spec = launchSpec(instance, context);
        const problems = await problemsOf(spec);
        return problems.length === 0
          ? { name: subject, verdict: "good", message: spec.argv.join(" ") }
          : { name: subject, verdict: "problem", message: problems.join("; ") };
      } catch (error) {
        return { name: subject, verdict: "problem", message: (error as Error).message };
      }
    }),
  );
}
