/**
 * An update that takes route `api` on two agents to 50 % and dies by SIGKILL once the first of them has committed.
 *
 *   half-commit.ts SOCKET SOCKET
 */
import { AgentClient } from "../../../src/agent/client/client";
import { declaredRoute } from "../../../src/model/route/route";
import { rollOutRoute } from "../../../src/provider/rollout/route-rollout";

class DiesAtCommit extends AgentClient {
  override async commit(): Promise<never> {
    process.kill(process.pid, "SIGKILL");
    return new Promise(() => undefined);
  }
}

const [first = "", second = ""] = process.argv.slice(2);
const agents = [new AgentClient(first), new DiesAtCommit(second)].map((client) => ({
  client,
  edges: ["main"],
}));
const declared = declaredRoute.parse({ edges: ["main"], stable: "blue", candidate: "green", stage: "50%" });
const silent = () => undefined;
const log = { debug: silent, info: silent, warn: silent, error: silent, progress: silent };
const { signal } = new AbortController();
const context = { urn: "urn:route", name: "api", type: "x", preview: false, signal, log, secrets: [] };
void rollOutRoute(agents, "api", declared, context, { runGates: async () => undefined }).then(() => process.exit(1));
