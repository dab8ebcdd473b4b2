import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { AgentClient } from "../../../src/agent/client/client";
import { findHaproxy } from "../../../src/agent/haproxy/config/version";
import type { TakeoverEntry } from "../../../src/model/process/takeover";
import { sluice } from "../../cli/support/sluice";
import { bootSystemd, type Systemd, withoutSystemd } from "../../support/systemd";
import { change, OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { APP, type AppOptions, promote, startStep } from "../support/pool";
import { takingEdge } from "./existing-app";

const AGENT = "sluice-agent.service";
const OLD = "old-web.service";
const SLUICE = join(process.cwd(), "src", "cli", "sluice");
/** It is in a network of its own. */
const PORT = 80;
const LEDGER = "/var/lib/sluice/takeovers/edge.main.json";
const RELEASE: AppOptions = { path: "/srv/web", ports: { from: 9000, to: 9019 }, release: "v1" };

/** As long as it exists the old app does not end by SIGTERM, so that an agent can die meanwhile. */
const STAY = "/run/old-app-stays";
/** Ends by SIGQUIT once it has finished what it has; nothing but its end answers `/hold`. */
const OLD_APP = `
let answer = "old";
const server = require("node:http").createServer((request, response) => {
  if (request.url !== "/hold") return response.end(answer);
  answer = "old, busy";
  response.write("begun");
});
const end = () => (require("node:fs").existsSync("${STAY}") ? setTimeout(end, 10) : process.exit(0));
process.on("SIGTERM", end);
process.on("SIGQUIT", () => server.close(() => process.exit(0)));
server.listen(Number(process.argv[2]), "127.0.0.1");
`;
const OLD_UNIT = `
[Service]
ExecStart=${process.execPath} /srv/old/app.cjs ${PORT}
Restart=always
RestartSec=0
[Install]
WantedBy=multi-user.target
`;

const PROXY = "old-haproxy.service";
const PROXY_PORT = 81;
/** As Debian starts it. */
const PROXY_UNIT = `
[Service]
ExecStart=${findHaproxy()} -Ws -f /srv/old/haproxy.cfg
KillMode=mixed
Restart=always
Type=notify
`;
const PROXY_CONFIG = `
global
  user nobody
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 1s
frontend http
  bind 127.0.0.1:${PROXY_PORT}
  http-request return status 200 content-type text/plain string old
`;

const SLOW = "old-slow.service";
const SLOW_PORT = 82;
const SLOW_UNIT = `
[Service]
ExecStart=${process.execPath} /srv/old/app.cjs ${SLOW_PORT}
`;

/** A systemd with an agent, and with an app that has the port. */
async function beside(t: TestContext) {
  // The bundles are built here, since the repository can't be written to from there.
  assert.equal((await sluice(["--version"])).code, 0);
  const systemd = await bootSystemd(t);
  const write = (path: string, text: string) =>
    systemd.must("sh", "-c", 'mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0"', path, text);
  write("/srv/old/app.cjs", OLD_APP);
  write(`/etc/systemd/system/${OLD}`, OLD_UNIT);
  write("/srv/old/haproxy.cfg", PROXY_CONFIG);
  write(`/etc/systemd/system/${PROXY}`, PROXY_UNIT);
  write(`/etc/systemd/system/${SLOW}`, SLOW_UNIT);
  write("/srv/web/app.cjs", APP);
  systemd.must(SLUICE, "agent", "install");
  systemd.must("systemctl", "daemon-reload");
  systemd.must("systemctl", "enable", "--now", AGENT, OLD);
  systemd.must("systemctl", "start", PROXY, SLOW);
  const client = new AgentClient(systemd.path("/run/sluice/agent.sock"));
  t.after(() => client.close());
  await agentAnswers(client);
  await answers(systemd, "old");
  return { systemd, client };
}

const step = takingEdge(PORT, [{ unit: OLD }]);

test("a systemd unit is taken over, and given back", { skip: withoutSystemd }, async (t) => {
  const { systemd, client } = await beside(t);
  /** Goes as far as a first release can without the commit. */
  const begin = async () => {
    const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
    await client.step(id, startStep(RELEASE), () => undefined);
    return { id, doSwitch: () => client.step(id, { verb: "pool.switch", pool: "web" }, () => undefined) };
  };
  const isGivenBack = async (before: string) => {
    await answers(systemd, "old");
    await until("nothing to be owed", () => !existsSync(systemd.path(LEDGER)));
    assert.equal(show(systemd, "ActiveState"), "active");
    assert.notEqual(show(systemd, "MainPID"), before);
    // An agent that starts gives ports back before it listens.
    await agentAnswers(client);
  };

  await t.test("a preview tells what would happen, and refuses what can't be done by name", async () => {
    const pid = show(systemd, "MainPID");
    systemd.must("systemd-run", "--unit", "exporter", "--property", `Requires=${OLD}`, "sleep", "1000000");
    const { takeover } = await client.plan(step);
    assert.equal(takeover?.length, 4, takeover?.join("\n"));
    assert.match(
      takeover[0] ?? "",
      new RegExp(
        `^takes over unit ${OLD}: process ${pid} \\(.*/node /srv/old/app.cjs 80\\), since 20.*Z \\(systemctl stop ${OLD}\\); it ends once the edge can serve, which then listens on 127.0.0.1:80: a gap of some 100 ms$`,
      ),
    );
    assert.deepEqual(takeover.slice(1), [
      `the host's next boot starts unit ${OLD} again: systemctl disable ${OLD} once it is taken over`,
      `systemd stops unit exporter.service with unit ${OLD}, and does not start it with that: name it, too, if it is to be given back`,
      "the edge listens once every frontend's backend has a server",
    ]);
    const problems = async (entry: Partial<TakeoverEntry>, port = PORT) =>
      (await client.check(takingEdge(port, [entry]))).map(({ path, message }) => `${path}: ${message}`);
    assert.equal(
      (await problems({ unit: "odl-web.service" }))[0],
      "takeover[0]: unit odl-web.service is not known to systemd on this host: is it spelled as systemctl lists it?",
    );
    assert.match(
      (await problems({ port: PORT }))[0] ?? "",
      new RegExp(
        `^takeover\\[0\\]: port 80: process ${pid} \\(.*\\) belongs to the unit ${OLD}, and systemd may start it again: name that, as unit: "${OLD}"$`,
      ),
    );
    assert.equal(
      (await problems({ unit: "exporter.service" }))[0],
      "takeover[0]: unit exporter.service is transient (made by systemd-run, or another program), so that it could not be started again: end it yourself",
    );
    systemd.must("systemd-run", "--unit", "odd", "--socket-property", "ListenStream=127.0.0.1:84", "true");
    assert.deepEqual(await problems({ unit: "odd.service" }, 84), [
      "frontends.http.binds[0]: 127.0.0.1:84 is in use by systemd itself, for a socket unit: systemctl list-sockets shows which, end it by systemctl disable --now",
    ]);
    await assert.rejects(
      change(client, "edge/main", [takingEdge(PORT, [{ unit: "odl-web.service" }])]),
      /unit odl-web.service is not known to systemd/,
    );
    assert.equal(show(systemd, "MainPID"), pid);
  });

  await t.test("a first release that fails gives its port back", async () => {
    await change(client, "edge/main", [step]);
    const pid = show(systemd, "MainPID");
    const { id, doSwitch } = await begin();
    await answers(systemd, "old");
    await doSwitch();
    assert.equal(body(systemd), "v1");
    // Restart=always does not hold for what systemd itself stopped.
    assert.equal(show(systemd, "ActiveState"), "inactive");
    await client.abort(id, "test");
    await isGivenBack(pid);
  });

  await t.test("an agent that is killed after the port was taken gives it back when it starts again", async () => {
    const pid = show(systemd, "MainPID");
    const { doSwitch } = await begin();
    await doSwitch();
    assert.equal(body(systemd), "v1");
    systemd.must("systemctl", "kill", "--kill-whom", "main", "--signal", "KILL", AGENT);
    await isGivenBack(pid);
  });

  await t.test("an agent that is killed while systemd stops the unit gives the port back, too", async () => {
    const pid = show(systemd, "MainPID");
    const { doSwitch } = await begin();
    systemd.must("touch", STAY);
    const switching = doSwitch().catch((error: Error) => error);
    await until("the unit to be stopped", () => show(systemd, "ActiveState") === "deactivating");
    systemd.must("systemctl", "kill", "--kill-whom", "main", "--signal", "KILL", AGENT);
    assert.ok((await switching) instanceof Error);
    systemd.must("rm", STAY);
    await isGivenBack(pid);
  });

  await t.test("once committed it stays stopped, and nothing speaks against later updates", async () => {
    await promote(client, RELEASE);
    assert.equal(body(systemd), "v1");
    assert.equal(show(systemd, "ActiveState"), "inactive");
    await until("nothing to be owed", () => !existsSync(systemd.path(LEDGER)));
    assert.deepEqual(await client.check(step), []);
    assert.deepEqual((await client.plan(step)).takeover, [
      `nothing to take over for unit ${OLD}: unit ${OLD} is inactive`,
    ]);
    await change(client, "edge/main", [step]);
    await promote(client, { ...RELEASE, release: "v2" });
    assert.equal(body(systemd), "v2");
    assert.deepEqual((await client.edge("main"))?.live.takeover, { [`unit ${OLD}`]: "taken over" });
    assert.deepEqual(JSON.parse(systemd.must(SLUICE, "status", "--json")).problems, []);
  });

  await t.test("doctor says what a boot would start again, until that is disabled", async () => {
    const checks = async () => (await client.doctor()).checks.filter(({ name }) => name === "takeover");
    assert.deepEqual(await checks(), [
      {
        name: "takeover",
        verdict: "warning",
        message: `the host's next boot starts unit ${OLD} again: systemctl disable ${OLD} once it is taken over`,
      },
    ]);
    systemd.must("systemctl", "disable", OLD);
    systemd.must("systemd-run", "--on-active", "1h", "--unit", OLD);
    const timer = OLD.replace("service", "timer");
    assert.deepEqual(await checks(), [
      {
        name: "takeover",
        verdict: "warning",
        message: `unit ${timer} starts unit ${OLD} again: systemctl disable --now ${timer} once it is taken over`,
      },
    ]);
    systemd.must("systemctl", "stop", timer);
    const good = [{ name: "takeover", verdict: "good", message: `nothing of what was taken over runs (unit ${OLD})` }];
    assert.deepEqual(await checks(), good);
    systemd.must("rm", `/etc/systemd/system/${OLD}`);
    systemd.must("systemctl", "daemon-reload");
    assert.deepEqual(await checks(), good);
    assert.deepEqual(await client.check(step), []);
  });

  /** An edge and a pool of that name, which goes as far as the commit of its first release. */
  const beginAt = async (pool: string, port: number, ports: AppOptions["ports"], entry: Partial<TakeoverEntry>) => {
    const { spec } = takingEdge(port, [entry]);
    spec.frontends.http.defaultBackend = pool;
    const edge = { verb: "edge.set" as const, edge: pool, spec };
    const { takeover = [] } = await client.plan(edge);
    await change(client, `edge/${pool}`, [edge]);
    const { id } = await client.begin({ target: `pool/${pool}`, owner: OWNER, leaseMs: 60_000 });
    const start = startStep({ ...RELEASE, ports }, pool);
    start.spec.edge = pool;
    await client.step(id, start, () => undefined);
    return { id, takeover, doSwitch: () => client.step(id, { verb: "pool.switch", pool }, () => undefined) };
  };

  await t.test("an edge listens beside a HAProxy that is a unit, and gives it its port back", async () => {
    const pid = show(systemd, "MainPID", PROXY);
    const entry = { unit: PROXY, signal: "SIGUSR1" } as const;
    const { id, takeover, doSwitch } = await beginAt("proxy", PROXY_PORT, { from: 9100, to: 9119 }, entry);
    assert.match(
      takeover[0] ?? "",
      new RegExp(
        `^takes over unit ${PROXY}: process ${pid} \\(.*\\), since .* \\(SIGUSR1, then systemctl stop ${PROXY}\\); the edge listens beside it on 127.0.0.1:81, then it ends: no gap$`,
      ),
    );
    await answers(systemd, "old", PROXY_PORT);
    await doSwitch();
    assert.equal(body(systemd, PROXY_PORT), "v1");
    assert.equal(show(systemd, "ActiveState", PROXY), "inactive");
    await client.abort(id, "test");
    await answers(systemd, "old", PROXY_PORT);
    assert.equal(show(systemd, "ActiveState", PROXY), "active");
    assert.notEqual(show(systemd, "MainPID", PROXY), pid);
  });

  await t.test(
    "an edge listens while a unit finishes what it has, and gives the port back where it dies then",
    async () => {
      const pid = show(systemd, "MainPID", SLOW);
      systemd.must("systemd-run", "--unit", "hold", "curl", "--silent", `http://127.0.0.1:${SLOW_PORT}/hold`);
      await answers(systemd, "old, busy", SLOW_PORT);
      const entry = { unit: SLOW, signal: "SIGQUIT" } as const;
      const { doSwitch } = await beginAt("slow", SLOW_PORT, { from: 9200, to: 9219 }, entry);
      const switching = doSwitch().catch((error: Error) => error);
      await answers(systemd, "v1", SLOW_PORT);
      assert.equal(show(systemd, "ActiveState", SLOW), "active");
      assert.equal(show(systemd, "MainPID", SLOW), pid);
      assert.equal(systemd.run("systemctl", "is-active", "hold.service").stdout.trim(), "active");
      systemd.must("systemctl", "kill", "--kill-whom", "main", "--signal", "KILL", AGENT);
      assert.ok((await switching) instanceof Error);
      await answers(systemd, "old", SLOW_PORT);
      assert.equal(show(systemd, "ActiveState", SLOW), "active");
      assert.notEqual(show(systemd, "MainPID", SLOW), pid);
    },
  );
});

function show(systemd: Systemd, property: string, unit = OLD): string {
  return systemd.must("systemctl", "show", "--property", property, "--value", unit).trim();
}

function body(systemd: Systemd, port = PORT): string {
  return systemd.must("curl", "--silent", "--fail", `http://127.0.0.1:${port}/`);
}

async function agentAnswers(client: AgentClient): Promise<void> {
  await until("the agent answers", () => client.about().then(Boolean, () => false));
}

async function answers(systemd: Systemd, release: string, port = PORT): Promise<void> {
  await until(`port ${port} to be answered by ${release}`, () => body(systemd, port) === release);
}
