import { declaredRoute } from "../../src/model/route/route";
import { rollOutRoute } from "../../src/provider/rollout/route-rollout";
import { type RunGates, runGates } from "../../src/provider/rollout/stage-gates";
import type { Context } from "../../src/provider/server";
import { startTestAgent } from "../../test/support/agent";
import { freePorts } from "../../test/support/ports";
import { change } from "../support/change";
import { answers } from "../support/processes";
import type { Scope } from "../support/scope";
import { PROBE_INTERVAL_MS, type Side, STABLE, startApp } from "./side";

const ROUTE = "api";

/** A route's rollout as the provider does it, whose gate turns red. */
export async function sluiceSide(scope: Scope, health: string): Promise<Side> {
  const { client } = await startTestAgent(scope);
  const port = await freePorts(1);
  const frontends = { http: { binds: [{ port }], defaultBackend: STABLE } };
  await change(client, "edge/main", { verb: "edge.set", edge: "main", spec: { frontends } });
  const setBackend = async (backend: string) => {
    const spec = { servers: { one: { address: "127.0.0.1", port: await startApp(scope, backend) } } };
    await change(client, `backend/main/${backend}`, { verb: "backend.set", edge: "main", backend, spec });
  };
  await setBackend(STABLE);
  const url = `http://127.0.0.1:${port}/`;
  await answers(url, "the edge");

  const silent = () => undefined;
  const context: Context = {
    urn: "urn:pulumi:bench::sluice::sluice:index:Route::api",
    name: ROUTE,
    type: "sluice:index:Route",
    preview: false,
    signal: new AbortController().signal,
    log: { debug: silent, info: silent, warn: silent, error: silent, progress: silent },
    secrets: [],
  };
  let create = true;
  const rollout = async (candidate: string, stage: string, watched: () => void = silent) => {
    const interval = `${PROBE_INTERVAL_MS} milliseconds` as const;
    const gates = [{ kind: "http" as const, url: health, interval }];
    const stages = [{ split: "50%" as const, window: "1 hour" as const, gates }];
    const declared = declaredRoute.parse({ edges: ["main"], stable: STABLE, candidate, stage, stages });
    const agents = [{ client, edges: ["main"], create }];
    const watch: RunGates = (...stageAndContext) => {
      watched();
      return runGates(...stageAndContext);
    };
    await rollOutRoute(agents, ROUTE, declared, context, { runGates: watch });
    create = false;
  };
  return {
    name: "sluice",
    url,
    async promote(release) {
      await setBackend(release);
      await rollout(release, "stable");
      return new Promise((resolve, reject) => {
        const rolledBack = rollout(release, "50%", () => resolve({ rolledBack })).then(
          () => Promise.reject(new Error("the rollout passed, although its gate was red")),
          (error: Error) => {
            if (!error.message.includes("answered 500")) throw error;
          },
        );
        rolledBack.catch(reject);
      });
    },
  };
}
