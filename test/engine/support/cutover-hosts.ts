import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { TestContext } from "node:test";
import { AgentClient } from "../../../src/agent/client/client";
import { MIRROR_HEADER } from "../../../src/model/route/mirror";
import { endEverything, temporaryFolder } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { sendRequests } from "../../support/requests";
import { until } from "../../support/until";
import { REPOSITORY, Workspace } from "./engine";

export const BACK = { deadlineMs: 60_000, intervalMs: 100 };
/** A path that only a parity gate asks for. */
const RECORDED = "/recorded";

const PROGRAM = `
import { readFileSync } from "node:fs";
import { Cutover, HaproxyEdge, LocalHost, Route } from "${REPOSITORY}/components";
import { Backend } from "${REPOSITORY}/src/provider/classes/backend";

const { hosts, port, systems, cutover, route } = JSON.parse(readFileSync(__dirname + "/declared.json", "utf8"));
const edges = hosts.map((directory: string, index: number) => new HaproxyEdge("edge-" + index, {
  host: new LocalHost("host-" + index, { directory, socket: directory + "/a.sock" }),
  name: "main",
  frontends: {
    http: { binds: [{ port: port + index }], defaultBackend: "old" },
    other: { binds: [{ port: port + 2 + index }], defaultBackend: "old" },
  },
  meter: true,
}));
const dependsOn = edges.flatMap(({ agent, edgeName }: HaproxyEdge, index: number) =>
  Object.entries<number>(systems).map(([name, at]) =>
    new Backend(name + "-" + index, { agent, edge: edgeName, name, servers: { one: { address: "127.0.0.1", port: at } } })));
new Cutover("catalogue", { edges, match: { frontends: ["http"] }, to: "fresh", ...cutover }, { dependsOn });
new Route("soaked", { edges, match: { frontends: ["other"] }, stable: "old", candidate: "fresh", ...route }, { dependsOn });
`;

/** A system that serves rows; what is wrong with it can be set. */
async function system(t: TestContext, name: string) {
  const state = { port: 0, badCopies: false, isHolding: false, recorded: 0 };
  const server = createServer(({ headers, url }, response) => {
    const isCopy = headers[MIRROR_HEADER] !== undefined;
    response.setHeader("x-release", name);
    response.statusCode = isCopy && state.badCopies ? 500 : 200;
    if (url === RECORDED) state.recorded++;
    if (url !== RECORDED || !state.isHolding) response.end(JSON.stringify({ data: [{ id: 1 }] }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  state.port = (server.address() as AddressInfo).port;
  return state;
}

/** How the stack is declared differently. */
interface Declared {
  /** Windows of the cutover's stages, by stage. */
  windows?: Record<string, string>;
  /** The cutover's old system. @default "old" */
  from?: string;
  /** Stage of the route `soaked`. @default "stable" */
  soak?: string;
}

/** A stack with a cutover, and a route with a soak, on edges of two hosts. Its stages are stable, and requests go on. */
export async function startCutover(t: TestContext) {
  const hosts = [await temporaryFolder(t), await temporaryFolder(t)] as const;
  const stack = await Workspace.create({
    program: PROGRAM,
    providers: { sluice: path.join(REPOSITORY, "src", "provider") },
  });
  const [one, two] = hosts.map((host) => new AgentClient(path.join(host, "a.sock"))) as [AgentClient, AgentClient];
  t.after(async () => {
    for (const client of [one, two]) client.close();
    await Promise.all(hosts.map(endEverything));
    await stack.close();
  });
  const [old, fresh] = [await system(t, "old"), await system(t, "fresh")];
  const port = await freePorts(4);
  const requests = path.join(stack.folder, "requests.jsonl");
  await stack.write("requests.jsonl", JSON.stringify({ method: "GET", path: RECORDED }));
  const url = (side: { port: number }) => `http://127.0.0.1:${side.port}`;
  const thresholds = ["5xx < 1 %"];
  const soaked = (stage: string) => ({
    mirror: { to: "fresh", share: "0%" },
    stages: [
      {
        name: "shadow",
        split: "0%",
        mirror: "100%",
        window: "5 seconds",
        gates: [{ kind: "sli", source: "mirror", interval: "500 milliseconds", thresholds, minRequests: 5 }],
      },
      {
        split: "100%",
        window: "0 seconds",
        gates: [{ kind: "soak", source: "mirror", duration: "10 seconds", thresholds, minRequests: 5 }],
      },
    ],
    stage,
  });
  const declare = (stage: string, { windows = {}, from = "old", soak = "stable" }: Declared = {}) => {
    const cutover = {
      from,
      stage,
      parity: { requests, upstreamUrl: url(old), candidateUrl: url(fresh), timeout: "10 minutes" },
      // The systems, the load and the engine share a machine, which may be a busy one.
      slo: { p99: "20 seconds" },
      interval: "500 milliseconds",
      minRequests: 1,
      window: { shadow: "5 seconds", "1%": "20 seconds", "10%": "5 seconds", "50%": "5 seconds", ...windows },
    };
    const systems = { old: old.port, third: old.port, fresh: fresh.port };
    return stack.write("declared.json", JSON.stringify({ hosts, port, systems, cutover, route: soaked(soak) }));
  };
  const up = async () => {
    const { exit, stdout, stderr } = await stack.up();
    return { exit, said: stdout + stderr };
  };
  const reach = async (stage: string, declared: Declared = {}) => {
    await declare(stage, declared);
    const { exit, said } = await up();
    assert.equal(exit, 0, said);
  };
  const place = async (client: AgentClient, name = "catalogue") => {
    const { spec, splits, mirrors } = (await client.route(name)) ?? {};
    return [spec?.stage, splits?.main, mirrors?.main];
  };
  const places = (name?: string) => Promise.all([place(one, name), place(two, name)]);
  const are = async (...wanted: unknown[]) => JSON.stringify(await places()) === JSON.stringify([wanted, wanted]);
  /** Kills the deployer once its rollout is somewhere, and waits until all agents have put their parts back. */
  const dieAt = async (what: string, probe: () => Promise<boolean> | boolean) => {
    const started = stack.start("up");
    await until(what, probe, BACK);
    const [transaction] = (await one.status()).transactions;
    process.kill(transaction?.owner.pid ?? 0, "SIGKILL");
    const open = async () => (await Promise.all([one.status(), two.status()])).flatMap((each) => each.transactions);
    await until("all agents to have undone it", async () => (await open()).length === 0, BACK);
    started.signal("SIGKILL");
    await started.finished;
    await stack.cancel();
  };

  await reach("stable");
  const load = sendRequests(t, [port, port + 1, port + 2, port + 3], { atOnce: 8, pauseMs: 20 });
  t.after(() => load.stop());
  return { stack, hosts, port, one, two, fresh, load, declare, up, reach, place, places, are, dieAt };
}
