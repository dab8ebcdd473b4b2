import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { Events } from "../../src/agent/events/events";
import { ProcessStates } from "../../src/agent/pools/supervise/process-states";
import { Supervisor } from "../../src/agent/pools/supervise/supervisor";
import { ProcessManager } from "../../src/agent/processes/process-manager";
import { Secrets } from "../../src/agent/state/secrets";
import { poolSpec } from "../../src/model/pool/pool";
import { instancesOf } from "../../src/model/pool/pool-instances";
import { begin, newPool } from "../../src/model/pool/pool-promotion";
import { agentOptions } from "../../src/model/protocol/agent";
import { agentBundle } from "../../src/provider/server";
import { endEverything, temporaryFolder } from "../support/agent";
import { freePorts } from "../support/ports";
import { until } from "../support/until";
import { kill } from "./support/host";

const KEY = "k".repeat(64);

suite("at the same moment", { concurrency: 3 }, () => {
  test("of many agents that start in one folder, one gets it and the others end", async (t) => {
    const directory = await temporaryFolder(t);
    const { path, version } = agentBundle();
    await mkdir(join(directory, "bin"));
    await copyFile(path, join(directory, "bin", "agent.cjs"));
    const options = agentOptions.parse({ socket: join(directory, "a.sock") });
    await writeFile(join(directory, "agent.json"), JSON.stringify({ version, options }));
    for (let round = 0; round < 2; round++) {
      const agents = Array.from({ length: 5 }, () =>
        spawn(process.execPath, [join(directory, "bin", "agent.cjs"), directory], { stdio: "ignore" }),
      );
      t.after(() => agents.forEach((agent) => void agent.kill("SIGKILL")));
      const ended = () => agents.filter(({ exitCode }) => exitCode !== null);
      await until("all agents but one to have ended", () => ended().length === 4);
      assert.deepEqual(
        ended().map(({ exitCode }) => exitCode),
        [0, 0, 0, 0],
        "an agent that is not needed ends its guard",
      );
      const left = agents.find(({ exitCode }) => exitCode === null);
      const claimed = JSON.parse(await readFile(join(directory, "agent.pid"), "utf8")) as { pid: number };
      assert.equal(claimed.pid, left?.pid);
      // The next round finds the claim of an agent that was killed.
      kill({ pid: left?.pid ?? 0 });
      await until("its end", () => left?.signalCode === "SIGKILL");
    }
    await endEverything(directory);
  });

  test("a process that background work starts does not count as up for a promotion that waits for it", async (t) => {
    const directory = await temporaryFolder(t);
    const from = await freePorts(4);
    const processes = await ProcessManager.open({ directory: join(directory, "processes"), marker: "races" });
    const events = new Events(directory);
    const supervisor = new Supervisor({
      processes,
      events,
      processStates: new ProcessStates(join(directory, "processes"), events),
      traffic: {
        connections: async () => ({ connections: 0, mayReceive: false }),
        cut: async () => undefined,
        converge: async () => undefined,
        notifyHealth: async () => undefined,
        receivingPorts: async () => [],
      },
      edgeAddress: () => "",
      drainMs: () => 0,
      secretEnv: () => ({}),
    });
    const spec = poolSpec.parse({
      edge: "main",
      release: { id: "v1", path: "/" },
      ports: { from, to: from + 3 },
      processes: {
        web: {
          policy: "proxied",
          command: ["sleep", "1000000"],
          health: { path: "/", deadline: "300 milliseconds", interval: "50 milliseconds" },
        },
      },
    });
    const split = { ...spec, processes: { web: { ...spec.processes.web, secretEnv: {} } } } as Parameters<
      typeof begin
    >[1];
    const instances = instancesOf(
      "app",
      begin(newPool(split), split, () => from),
    );
    t.after(async () => {
      supervisor.want("app", [], "deploy");
      await supervisor.settled("app");
      supervisor.close();
      processes.close();
    });
    supervisor.want("app", instances, "deploy");
    const { signal } = new AbortController();
    const background = supervisor.ensure("app", { strict: () => false, signal });
    const promotion = supervisor.ensure("app", { strict: () => true, signal });
    await background;
    await assert.rejects(promotion, /web#0 of pool app \(release v1\) not healthy within 300 milliseconds/);
  });

  test("secrets that a promotion has just stored outlive the clean-up behind another pool's", async (t) => {
    const directory = await temporaryFolder(t);
    const { secrets } = await Secrets.openIn(directory, KEY);
    const stored = () => readdir(join(directory, "secrets"));
    await secrets.store("old", 1, { web: { TOKEN: "a" } });
    await secrets.store("other", 1, { web: { TOKEN: "b" } });
    // The other pool does not name the generation yet: its overlay comes next.
    await secrets.prune({}, "old");
    assert.deepEqual(await stored(), ["other.1.json"]);
    await secrets.prune({}, "other");
    assert.deepEqual(await stored(), []);
  });
});
