import { join } from "node:path";
import { poolSpec } from "../../src/model/pool/pool";
import { agentOptions } from "../../src/model/protocol/agent";
import type { AgentEvent } from "../../src/model/protocol/transaction";
import { promote } from "../../src/provider/rollout/pool-rollout";
import type { Context } from "../../src/provider/server";
import { startTestAgent } from "../../test/support/agent";
import { freePorts, freeRange } from "../../test/support/ports";
import { until } from "../../test/support/until";
import { change } from "../support/change";
import type { Scope } from "../support/scope";
import { PROBE_INTERVAL_MS, REPLICAS, type Side } from "./side";

/** Ports for the releases: those that drain hold theirs for a while. */
const PORTS = 40;

/** Promotions as the provider does them, on an agent of their own. */
export async function sluiceSide(scope: Scope): Promise<Side> {
  const { client, directory, socket } = await startTestAgent(scope);
  const port = await freePorts(1);
  const frontends = { http: { binds: [{ port }], defaultBackend: "web" } };
  await change(client, "edge/main", { verb: "edge.set", edge: "main", spec: { frontends } });

  const healthy: AgentEvent[] = [];
  const following = new AbortController();
  scope.after(() => following.abort());
  const follow = async () => {
    for await (const event of client.events(following.signal)) if (event.data.phase === "healthy") healthy.push(event);
  };
  follow().catch((error: unknown) => {
    if (!following.signal.aborted) throw error;
  });

  const ports = await freeRange(PORTS);
  const silent = () => undefined;
  const context: Context = {
    urn: "urn:pulumi:bench::sluice::sluice:index:Pool::web",
    name: "web",
    type: "sluice:index:Pool",
    preview: false,
    signal: new AbortController().signal,
    log: { debug: silent, info: silent, warn: silent, error: silent, progress: silent },
    secrets: [],
  };
  return {
    name: "sluice",
    url: `http://127.0.0.1:${port}/`,
    async promote(release) {
      const spec = poolSpec.parse({
        edge: "main",
        release: { id: release, path: __dirname },
        ports,
        drainDeadline: "10 seconds",
        retain: { count: 1 },
        processes: {
          web: {
            policy: "proxied",
            command: [process.execPath, join(__dirname, "app.mjs"), "{{port}}", "{{release.id}}"],
            replicas: REPLICAS,
            health: { path: "/", interval: `${PROBE_INTERVAL_MS} milliseconds` },
          },
        },
      });
      const agent = { directory, socket: agentOptions.parse({ socket }).socket };
      const before = healthy.length;
      await promote({ agent, name: "web" }, { verb: "pool.start", pool: "web", spec }, context);
      const event = await until(`release ${release} to have been healthy`, () => healthy[before]);
      await client.settle("web");
      return Date.parse(event.at);
    },
  };
}
