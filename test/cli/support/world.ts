import type { StepInput } from "../../../src/model/protocol/transaction";
import { edgeStep, releaseFolder } from "../../agent/support/pool";
import { type Cleanup, startTestAgent, type TestAgent } from "../../support/agent";
import { freeRange } from "../../support/ports";
import { change } from "../../support/transaction";
import { type Outcome, type SluiceOptions, sluice } from "./sluice";

export interface World extends TestAgent {
  /** Folder of the release's app. */
  release: string;
  ports: { from: number; to: number };
  url: string;
  /** Runs a verb on this agent. */
  sluice(args: readonly string[], options?: SluiceOptions): Promise<Outcome>;
  /** Declares pool `web`: a proxied `web` with replicas, and what else is given. */
  pool(release: string, processes?: Processes, replicas?: number): Promise<void>;
}

type Processes = (StepInput & { verb: "pool.start" })["spec"]["processes"];

/** An agent with edge `main` and release v1 of pool `web` in two replicas, for one test. */
export async function world(t: Cleanup, processes: Processes = {}, replicas = 2): Promise<World> {
  const agent = await startTestAgent(t);
  const { from, to } = await freeRange(10);
  const release = await releaseFolder(agent.directory);
  const ports = { from: from + 1, to };
  const pool = (id: string, others: Processes = {}, count = 2) =>
    change(agent.client, "pool/web", [
      {
        verb: "pool.start",
        pool: "web",
        spec: {
          edge: "main",
          release: { id, path: release },
          ports,
          drainDeadline: "1 second",
          processes: {
            web: {
              policy: "proxied",
              command: [process.execPath, "app.cjs"],
              replicas: count,
              health: { path: "/", interval: "20 milliseconds", deadline: "30 seconds" },
              gracefulStop: "1 second",
            },
            ...others,
          },
        },
      },
      { verb: "pool.switch", pool: "web" },
      { verb: "pool.follow", pool: "web" },
    ]);
  await change(agent.client, "edge/main", [edgeStep(from)]);
  await pool("v1", processes, replicas);
  return {
    ...agent,
    release,
    ports,
    url: `http://127.0.0.1:${from}/`,
    pool,
    sluice: (args, options) => sluice([...args, "--socket", agent.socket], options),
  };
}
