import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, cp, mkdir, open, readdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import type { EdgeAnswer } from "../../../src/agent/api/answers";
import { findHaproxy } from "../../../src/agent/haproxy/config/version";
import { send } from "../../../src/agent/processes/identity";
import { edgeStep, promote } from "../../agent/support/pool";
import { change } from "../../support/transaction";
import { until } from "../../support/until";
import type { BrokenHost } from "./broken-host";

/** One way to be broken, and what must be said of it. */
interface Row {
  name: string;
  /** Breaks it; the answer mends it, told the problem's message. */
  breaks: (host: BrokenHost) => Promise<(message: string) => Promise<unknown>>;
  /** The problem, as `subject: message`. */
  says: RegExp;
  /** Whether it is the first line, since requests fail. @default false */
  outage?: boolean;
  /** Message in `sluice events` about it, besides that it is over. */
  event?: RegExp;
  /** Message that it is over. @default any such */
  over?: RegExp;
}

const haproxy =
  (broken: string, mended: string): Row["breaks"] =>
  async (host) => {
    await host.haproxy(broken);
    return () => host.haproxy(mended);
  };

/** Kills one of HAProxy's processes, and takes its port before the agent can start it again. */
const haproxyKilled =
  (pidOf: (edge: EdgeAnswer) => number | undefined): Row["breaks"] =>
  async ({ client, about, url }) => {
    const pid = pidOf((await client.edge("main")) ?? assert.fail()) ?? assert.fail();
    const stranger = createServer((_, response) => response.writeHead(503).end());
    send(about.pid, "SIGSTOP");
    try {
      send(pid, "SIGKILL");
      await until("the port", () => listens(stranger, Number(new URL(url).port)));
    } finally {
      send(about.pid, "SIGCONT");
    }
    return async () => {
      stranger.closeAllConnections();
      await new Promise((resolve) => stranger.close(resolve));
    };
  };

const NO_KEEP_ALIVE = { headers: { connection: "close" } };

/** Whether the port could be taken. */
function listens(server: Server, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => resolve(true));
  });
}

/** A process that ends as often as it is started. */
const processDown =
  (key: string): Row["breaks"] =>
  async (host) => {
    const file = join(host.release, `${key}.down`);
    const { pid = assert.fail() } = await processOf(host, key);
    await writeFile(file, "");
    send(pid, "SIGKILL");
    return async () => {
      await rm(file);
      await host.client.restart("web", { process: key }, () => undefined);
    };
  };

/** Runs the command that a problem's message names. */
const asNamed =
  ({ sluice }: BrokenHost) =>
  async (message: string) => {
    const [, program = "", args = ""] =
      /: (sluice|kill) ([^,]+?)(?:,| resumes|$)/.exec(message) ?? assert.fail(message);
    if (program !== "sluice") return execFileSync(program, args.split(" "));
    const { code, stderr } = await sluice(args.split(" "));
    assert.equal(code, 0, stderr);
  };

const servers = (state: string) => `set server api/one ${state}; set server api/two ${state}`;

export const ROWS: Row[] = [
  {
    name: "a second HAProxy that shares the port of an edge",
    breaks: async ({ url, release }) => {
      const config = join(release, "stranger.cfg");
      const { port } = new URL(url);
      const times = "timeout client 5s\n  timeout server 5s\n  timeout connect 5s";
      await writeFile(
        config,
        `defaults\n  mode http\n  ${times}\nlisten stranger\n  bind 127.0.0.1:${port}\n  http-request return status 418\n`,
      );
      const stranger = spawn(findHaproxy(), ["-db", "-f", config], { stdio: "ignore" });
      await until("it to take requests", async () => (await fetch(url, NO_KEEP_ALIVE)).status === 418);
      return async () => {
        stranger.kill("SIGKILL");
        await once(stranger, "exit");
        await rm(config);
      };
    },
    says: /^edge main: haproxy \(pid \d+\) listens on 127\.0\.0\.1:\d+, too, and takes some of its requests: stop that process/,
    outage: true,
  },
  {
    name: "a HAProxy that hangs",
    breaks: async ({ client }) => {
      const { master = 0, worker } = (await client.edge("main"))?.observed ?? {};
      const pids = [master, worker?.pid ?? assert.fail()];
      for (const pid of pids) send(pid, "SIGSTOP");
      return async () => pids.forEach((pid) => void send(pid, "SIGCONT"));
    },
    says: /^edge main: can't be observed: HAProxy did not answer/,
    outage: true,
    event: /HAProxy of edge main does not answer: /,
  },
  {
    name: "a HAProxy whose socket was replaced by a folder",
    breaks: async ({ directory }) => {
      const path = join(directory, "edges", "main", "master.sock");
      await rm(path);
      await mkdir(path);
      return () => rmdir(path);
    },
    says: /^edge main: can't be observed: HAProxy of edge main .* can't be reached, since \S+ is a folder: remove \S+, and the agent binds it again/,
    outage: true,
    event: /HAProxy of edge main .* can't be reached, since \S+\/master\.sock is a folder/,
  },
  {
    name: "a HAProxy whose worker was killed, and that can't start",
    breaks: haproxyKilled(({ observed }) => observed.worker?.pid),
    says: /^edge main: its HAProxy does not run: the agent tries to start it, see sluice events$/,
    outage: true,
    event: /HAProxy of edge main does not run: /,
  },
  {
    name: "a HAProxy whose master was killed, and that can't start",
    breaks: haproxyKilled(({ observed }) => observed.master),
    says: /^edge main: its HAProxy does not run: the agent tries to start it, see sluice events$/,
    outage: true,
  },
  {
    name: "a default backend that is not there",
    breaks: async ({ client, url }) => {
      const declared = edgeStep(Number(new URL(url).port));
      const { frontends } = declared.verb === "edge.set" ? declared.spec : assert.fail();
      const elsewhere = { http: { ...(frontends.http ?? assert.fail()), defaultBackend: "nowhere" } };
      await change(client, "edge/main", [{ verb: "edge.set", edge: "main", spec: { frontends: elsewhere } }]);
      return () => change(client, "edge/main", [declared]);
    },
    says: /^edge main: frontend http leads to backend nowhere, which is not there: every request is answered with 503$/,
    outage: true,
  },
  {
    name: "a service that is down",
    breaks: processDown("queue"),
    says: /^queue of pool web: (waits for its next start|is not up yet) \(release v1, /,
  },
  {
    name: "a singleton that is down",
    breaks: processDown("clock"),
    says: /^clock\S* of pool web: (waits for its next start|is not up yet) \(release v1, /,
  },
  {
    name: "a process that was restarted too often",
    breaks: async (host) => {
      const file = join(host.release, "worker.down");
      const { pid = assert.fail() } = await processOf(host, "worker");
      await writeFile(file, "");
      send(pid, "SIGKILL");
      return async (message) => {
        await rm(file);
        await asNamed(host)(message);
      };
    },
    says: /^worker\S* of pool web: has failed \(release v1, 0 of 0 restarts .*\): sluice restart web\/worker\S*, or a deployment, revives it$/,
  },
  {
    name: "all servers of a backend down",
    breaks: async ({ api }) => {
      await Promise.all(api.map((server) => server.down()));
      return () => Promise.all(api.map((server) => server.up()));
    },
    says: /^edge main: backend api answers .* \(one DOWN: L4CON, two DOWN: L4CON\)$/,
    event: /edge main: backend api answers every request with 503: none of its 2 servers takes requests/,
    outage: true,
  },
  {
    name: "all servers of a backend in maintenance",
    breaks: haproxy(servers("state maint"), servers("state ready")),
    says: /^edge main: backend api answers every request with 503: none of its 2 servers takes requests \(one in maintenance by hand, two in maintenance by hand\); pulumi up corrects it$/,
    outage: true,
  },
  {
    name: "all servers of a backend draining",
    breaks: haproxy(servers("state drain"), servers("state ready")),
    says: /^edge main: backend api answers .* \(one draining by hand, two draining by hand\); pulumi up/,
    outage: true,
  },
  {
    name: "all servers of a backend with weight 0",
    breaks: haproxy(servers("weight 0"), servers("weight 100")),
    says: /^edge main: backend api answers .* \(one weight 0, two weight 0\); pulumi up/,
    outage: true,
  },
  {
    name: "one server in maintenance, the other one down",
    breaks: async ({ haproxy, api }) => {
      await haproxy("set server api/one state maint");
      await api[1]?.down();
      return async () => {
        await haproxy("set server api/one state ready");
        await api[1]?.up();
      };
    },
    says: /^edge main: backend api answers .* \(one in maintenance by hand, two DOWN: L4CON\); pulumi up/,
    outage: true,
  },
  {
    name: "a backend whose servers are declared in maintenance",
    breaks: async ({ client }) => {
      const { spec } = (await client.route("api")) ?? assert.fail();
      const backend = (state: "maint" | "ready") =>
        change(client, "backend/main/beta", [
          {
            verb: "backend.set",
            edge: "main",
            backend: "beta",
            spec: { servers: { only: { address: "127.0.0.1", port: 9, state } } },
          },
        ]);
      const before = await client.backend("main", "beta");
      const [, port] = before?.live.servers.only?.address.split(":") ?? [];
      assert.equal(spec.candidate, "beta");
      await backend("maint");
      return () =>
        change(client, "backend/main/beta", [
          {
            verb: "backend.set",
            edge: "main",
            backend: "beta",
            spec: {
              health: { path: "/", interval: "100 milliseconds", rise: 1, fall: 1 },
              servers: { only: { address: "127.0.0.1", port: Number(port) } },
            },
          },
        ]);
    },
    says: /^edge main: candidate beta of route api takes no requests \(only in maintenance as declared\): its share goes to the stable backend$/,
    event: /edge main: candidate beta of route api takes no requests \(only in maintenance as declared\)/,
    over: /edge main: backend beta takes requests again, after /,
  },
  {
    name: "a candidate with a share whose backend is down",
    breaks: async ({ beta }) => {
      await beta.down();
      return () => beta.up();
    },
    says: /^edge main: candidate beta of route api takes no requests \(only DOWN: L4CON\): its share goes to the stable backend$/,
    event:
      /edge main: candidate beta of route api takes no requests \(only DOWN: L4CON\): its share goes to the stable backend/,
    over: /edge main: backend beta takes requests again, after /,
  },
  {
    name: "one server of several in maintenance",
    breaks: haproxy("set server api/one state maint", "set server api/one state ready"),
    says: /^server one of backend api on edge main: is in maint, not ready: pulumi up corrects it$/,
  },
  {
    name: "one server of several down",
    breaks: async ({ api }) => {
      await api[0]?.down();
      return () => api[0]?.up() ?? assert.fail();
    },
    says: /^server one of backend api on edge main: takes no requests: it is DOWN: L4CON$/,
  },
  {
    name: "a weight changed by hand",
    breaks: haproxy("set server api/one weight 1", "set server api/one weight 100"),
    says: /^server one of backend api on edge main: has weight 1, not 100: pulumi up corrects it$/,
  },
  {
    name: "a health check switched off by hand",
    breaks: haproxy("disable health api/one", "enable health api/one"),
    says: /^server one of backend api on edge main: is not health-checked: pulumi up corrects it$/,
  },
  {
    name: "a server added by hand",
    breaks: haproxy(
      "add server api/extra 127.0.0.1:9; enable server api/extra",
      "set server api/extra state maint; del server api/extra",
    ),
    says: /^server extra of backend api on edge main: was added by hand: pulumi up corrects it$/,
  },
  {
    name: "a replica of a pool in maintenance",
    breaks: async (host) => {
      const name = await serverOf(host, "web#0");
      return haproxy(`set server web/${name} state maint`, `set server web/${name} state ready`)(host);
    },
    says: /^web#0 of pool web: its server in HAProxy is in maint, not ready: pulumi up corrects it$/,
  },
  {
    name: "all replicas of a pool in maintenance",
    breaks: async (host) => {
      const names = [await serverOf(host, "web#0"), await serverOf(host, "web#1")];
      const all = (state: string) => names.map((name) => `set server web/${name} state ${state}`).join("; ");
      return haproxy(all("maint"), all("ready"))(host);
    },
    says: /^edge main: backend web answers every request with 503: none of its 2 servers takes requests \(web#0 in maintenance by hand, /,
    outage: true,
  },
  {
    name: "a split changed by hand",
    breaks: async (host) => {
      const map = /\((.*splits.*)\)/.exec(await host.haproxy("show map"))?.[1] ?? assert.fail();
      const key = /^0x\S+ (api\S+) /m.exec(await host.haproxy(`show map ${map}`))?.[1] ?? assert.fail();
      return haproxy(`set map ${map} ${key} 100`, `set map ${map} ${key} 5000`)(host);
    },
    says: /^route api: edge main gives the candidate 1% instead of 50%: pulumi up corrects it$/,
  },
  {
    name: "a frontend that was disabled",
    breaks: haproxy("disable frontend http", "enable frontend http"),
    says: /^edge main: its frontend http is disabled: pulumi up opens it$/,
    outage: true,
  },
  {
    name: "a config changed by hand",
    breaks: async ({ directory }) => {
      const path = join(directory, "edges", "main", "haproxy.cfg");
      const before = await readFile(path, "utf8");
      await appendFile(path, "# changed\n");
      return () => writeFile(path, before);
    },
    says: /^edge main: its config is changed by hand: pulumi up puts the declared one back$/,
  },
  {
    name: "a folder in place of a config",
    breaks: async ({ directory }) => {
      const path = join(directory, "edges", "main", "haproxy.cfg");
      const config = await readFile(path);
      await rm(path);
      await mkdir(path);
      return async () => {
        await rmdir(path);
        await writeFile(path, config);
      };
    },
    says: /^edge main: can't be observed: \S+\/haproxy\.cfg is a folder, and must be a file: remove it$/,
    outage: true,
  },
  {
    name: "the shares on disk changed by hand",
    breaks: async ({ directory }) => {
      const path = join(directory, "edges", "main", "splits.map");
      const before = await readFile(path, "utf8");
      await writeFile(path, before.replace("5000", "100"));
      return () => writeFile(path, before);
    },
    says: /^edge main: its config is changed by hand: pulumi up puts the declared one back$/,
  },
  {
    name: "a process whose output was deleted",
    breaks: async (host) => {
      const { id } = await processOf(host, "clock");
      await rm(join(host.directory, "processes", id, "output.log"));
      return asNamed(host);
    },
    says: /^clock\S* of pool web: what it writes is lost, since its file was deleted: sluice restart web\/clock\S*$/,
  },
  {
    name: "a process that is stopped by a signal",
    breaks: async (host) => {
      const { pid = assert.fail() } = await processOf(host, "clock");
      send(pid, "SIGSTOP");
      return asNamed(host);
    },
    says: /^clock\S* of pool web: is suspended by a signal such as SIGSTOP: kill -CONT \d+ resumes it$/,
  },
  {
    name: "a guard that is stopped by a signal",
    breaks: async ({ guard }) => {
      send(guard, "SIGSTOP");
      return async () => send(guard, "SIGCONT");
    },
    says: /^agent: nothing restarts it when it dies/,
    event: /agent: nothing restarts it when it dies/,
  },
  {
    name: "a copy of the state that is another one's",
    breaks: async ({ directory }) => {
      const path = join(directory, "state.json");
      const before = await readFile(path, "utf8");
      await writeFile(path, "{}");
      return () => writeFile(path, before);
    },
    says: /^agent: \S+\/state\.json is not a state file of this version: the next commit writes it again/,
  },
  {
    name: "a state that can't be read, since its disk does not answer",
    breaks: async ({ directory }) => {
      const path = join(directory, "state.json");
      await rename(path, `${path}.away`);
      // Whoever opens it waits for a writer, as for a disk that hangs.
      execFileSync("mkfifo", ["-m", "0600", path]);
      return async () => {
        await rename(path, `${path}.pipe`);
        await rename(`${path}.away`, path);
        const pipe = await open(`${path}.pipe`, "r+");
        await pipe.close();
        await rm(`${path}.pipe`);
      };
    },
    says: /^agent: its state on disk could not be checked: the disk of its state folder did not answer within \d+ ms/,
    event: /agent: its state on disk could not be checked: /,
  },
  ...["bin/agent.cjs", "bin/start.sh", "bin/guard.sh", "agent.json"].map(
    (file): Row => ({
      name: `${file} that is gone from the agent's folder`,
      breaks: async ({ directory }) => {
        const path = join(directory, file);
        await rename(path, `${path}.away`);
        return () => rename(`${path}.away`, path);
      },
      says: new RegExp(`^agent: \\S+/${file} is gone, so that no agent can start again: pulumi up installs it$`),
    }),
  ),
  {
    name: "a claim of another agent",
    breaks: async ({ directory }) => {
      const path = join(directory, "agent.pid");
      const before = await readFile(path, "utf8");
      await writeFile(path, JSON.stringify({ ...JSON.parse(before), pid: process.pid }));
      return () => writeFile(path, before);
    },
    says: /^agent: its state folder \S+ belongs to process \d+: put this agent's own folder back/,
  },
  {
    name: "a reserve that is lost",
    breaks: async ({ directory }) => {
      const path = join(directory, "disk-reserve");
      const before = await readFile(path);
      await rm(path);
      return () => writeFile(path, before, { mode: 0o600 });
    },
    says: /^agent: the disk space in reserve for an undo on a full disk \(\S+\/disk-reserve\) is lost/,
  },
  {
    name: "a folder of the release that runs which is gone",
    breaks: async ({ release }) => {
      await rename(release, `${release}.away`);
      return () => rename(`${release}.away`, release);
    },
    says: /^pool web: the folder of the running release v1 is gone: its processes can't restart until you put it back/,
  },
  {
    name: "a process that waits for its restart",
    breaks: async (host) => {
      const { client, release } = host;
      const app = join(release, "app.cjs");
      const before = await readFile(app, "utf8");
      await writeFile(app, "process.exit(3);\n");
      const { pid = assert.fail() } = await processOf(host, "web#0");
      send(pid, "SIGKILL");
      return async () => {
        await writeFile(app, before);
        await client.restart("web", { process: "web", replica: 0 }, () => undefined);
      };
    },
    says: /^web#0 of pool web: (waits for its next start|is not up yet) \(release v1, \d+ of 20 restarts/,
  },
  {
    name: "a kept release that is gone",
    breaks: async ({ client, directory, release, ports }) => {
      const path = `${release}-2`;
      await cp(release, path, { recursive: true });
      await promote(client, { path, ports, release: "v2", replicas: 2, drainDeadline: "1 second" });
      await client.settle("web");
      await until("the kept release", () => readdir(join(directory, "releases", "web")));
      await rename(release, `${release}.away`);
      await rm(join(directory, "releases", "web"), { recursive: true });
      return () => rename(`${release}.away`, release);
    },
    says: /^pool web: release v1 is kept for a rollback, but neither \S+\/release nor its copy exists/,
  },
];

async function processOf({ client }: BrokenHost, key: string) {
  return (await client.pool("web"))?.processes.find((process) => process.key.startsWith(key)) ?? assert.fail(key);
}

async function serverOf({ client }: BrokenHost, key: string): Promise<string> {
  const observed = (await client.edge("main"))?.observed.backends.web ?? {};
  const port = (await client.pool("web"))?.processes.find((process) => process.key === key)?.port;
  return Object.entries(observed).find(([, server]) => server.port === port)?.[0] ?? assert.fail();
}
