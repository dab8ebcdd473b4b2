import type { Host } from "../host/host";
import { observeBackend, observeEdge, observePool } from "../host/observe";
import { observed } from "../support/observed";
import { observeRoute } from "../transactions/routes";
import type { About, AgentStatus, NotObserved, PoolObservation } from "./answers";
import type { Call, ServerParts } from "./call";

/** The agent with what is wrong with its state folder by now. */
export async function aboutNow({ about, folderProblems }: ServerParts): Promise<About> {
  const { notes, ...rest } = about();
  return { ...rest, notes: [...notes, ...(await folderProblems())] };
}

export async function status({ parts }: Call): Promise<AgentStatus> {
  const { host, transactions } = parts;
  const { edges, pools, backends, routes } = host.working();
  // A HAProxy that does not answer must not hide the others.
  const all = async <T>(names: string[], one: (name: string) => Promise<T>) => {
    const observe = names.map(async (name): Promise<[string, T | NotObserved]> => {
      return [
        name,
        await observed(one(name)).catch((error: unknown): NotObserved => ({ name, error: (error as Error).message })),
      ];
    });
    return Object.fromEntries(await Promise.all(observe));
  };
  // All at once: together they must not take longer than one may.
  const [agent, edgeAnswers, poolAnswers, backendAnswers, routeAnswers] = await Promise.all([
    aboutNow(parts),
    all(Object.keys(edges), (name) => observeEdge(host, name)),
    all(Object.keys(pools), (name) => observePool(host, name)).then((answers) => withKnown(host, answers)),
    all(Object.keys(backends), (key) => {
      const [edge = "", name = ""] = key.split("/");
      return observeBackend(host, edge, name);
    }),
    all(Object.keys(routes), (name) => observeRoute(host, name)),
  ]);
  return {
    agent,
    edges: edgeAnswers,
    pools: poolAnswers,
    backends: backendAnswers,
    routes: routeAnswers,
    transactions: transactions.list(),
  };
}

/** A HAProxy that does not answer must not hide the processes either. */
async function withKnown(
  host: Host,
  answers: Record<string, PoolObservation | NotObserved>,
): Promise<AgentStatus["pools"]> {
  const entries = Object.entries(answers).map(
    async ([name, answer]): Promise<[string, AgentStatus["pools"][string]]> => {
      const known =
        "error" in answer ? await observePool(host, name, { blind: true }).catch(() => undefined) : undefined;
      return [name, known === undefined ? answer : { ...answer, known }];
    },
  );
  return Object.fromEntries(await Promise.all(entries));
}
