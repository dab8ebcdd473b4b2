import type { Probe } from "../../model/gate/verdict";
import { type ProbeContext, probeResult } from "./context";

/** Asks every edge whether HAProxy has all servers of the candidate's backend up. */
export async function probeHealth({ edges, candidate }: ProbeContext): Promise<Probe> {
  const { backend, server } = candidate;
  if (backend === undefined) return probeResult("insufficient", "no backend is named whose servers could be checked");
  const lists = await Promise.all(
    edges.map(async ({ name, agent }) => {
      const edge = await agent.edge(name);
      if (edge === undefined) throw new Error(`there is no edge ${name}`);
      const servers = Object.entries(edge.observed.backends[backend] ?? {});
      return servers
        .filter(([id]) => server === undefined || id === server)
        .map(([id, { operational, state }]) => ({ path: `${name}/${backend}/${id}`, operational, state }));
    }),
  );
  const servers = lists.flat().filter(({ state }) => state === "ready");
  const down = servers.filter(({ operational }) => operational !== "up");
  const values = { servers: servers.length, down: down.length };
  if (lists.some((list) => list.length === 0) || servers.length === 0)
    return probeResult("insufficient", `backend ${backend} has no server that takes requests`, values);
  if (down.length > 0)
    return probeResult("fail", down.map(({ path, operational }) => `${path} is ${operational}`).join(", "), values);
  return probeResult("pass", `${servers.length} servers up`, values);
}
