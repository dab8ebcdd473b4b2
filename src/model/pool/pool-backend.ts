import { backendSpec, DEFAULT_WEIGHT } from "../edge/backend";
import { type Instance, serverName, servingInstances } from "./pool-instances";
import { type EdgeBackend, shareKey } from "./pool-share";
import { generationsOf, type PoolState } from "./pool-state";

/** The candidate's share of the requests; undefined if all go to one release. */
export function shareIn(pool: string, state: PoolState): EdgeBackend["share"] {
  const serving = state[state.serving];
  const { share, generation: candidate } = state.candidate ?? {};
  if (serving === undefined || share === undefined || candidate === undefined || candidate.number === serving.number)
    return undefined;
  return { ...share, key: shareKey(pool, serving.number, candidate.number) };
}

/**
 * The backend of a pool: its proxied replicas on the loopback address, with HAProxy's check on the same health path, as patient.
 *
 * @param without ids of replicas that get no traffic at the moment
 * @param proxied the replicas. @default those that serve
 */
export function backendOf(
  pool: string,
  state: PoolState,
  without: ReadonlySet<string> = new Set(),
  proxied: Instance[] = servingInstances(pool, state),
): EdgeBackend {
  const { path, timeout, fall } = proxied[0]?.template.health ?? {};
  const inTraffic = proxied.filter(({ id }) => !without.has(id));
  return backendSpec.parse({
    balance: state.settings.balance,
    retry: state.settings.retry,
    drainDeadline: state.settings.drainDeadline,
    ...(path === undefined ? {} : { health: { path, timeout, fall } }),
    servers: Object.fromEntries(
      inTraffic.map((instance) => [
        serverName(instance),
        { address: "127.0.0.1", port: instance.port ?? 0, weight: DEFAULT_WEIGHT, state: "ready" },
      ]),
    ),
  });
}

/** The release of one of a pool's servers, by the generation in its name; nothing for names and generations that are not known. */
export function releaseOfServer(state: PoolState, server: string): string | undefined {
  const number = Number(/-(\d+)-\d+(?:\.\d+)?$/.exec(server)?.[1]);
  const generation = generationsOf(state).find((each) => each.number === number);
  if (generation !== undefined) return generation.release.id;
  return state.retained.find(({ generation: kept }) => kept === number)?.release.id;
}
