import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { bootSystemd, type Systemd, withoutSystemd } from "../../support/systemd";
import { until } from "../../support/until";
import { sluice } from "../support/sluice";

const UNIT = "sluice-agent.service";
const SLUICE = join(process.cwd(), "src", "cli", "sluice");
/** Brings up an edge and a pool whose processes run as a user, each told by its own name. */
const DEPLOY = join(__dirname, "../support/deploy-web.ts");

test("the agent as a service of a real systemd", { skip: withoutSystemd }, async (t) => {
  // The bundles are built here, since the repository can't be written to from there.
  assert.equal((await sluice(["--version"])).code, 0);
  const systemd = await bootSystemd(t);
  systemd.must("systemctl", "start", "systemd-journald.socket", "systemd-journald.service");

  await t.test("is installed as the command says, and starts", async () => {
    const output = systemd.must(SLUICE, "agent", "install");
    assert.match(output, /systemctl daemon-reload && systemctl enable --now sluice-agent\.service/);
    systemd.must("systemctl", "daemon-reload");
    systemd.must("systemctl", "enable", "--now", UNIT);
    await answers(systemd);
    const verified = systemd.run("systemd-analyze", "verify", UNIT);
    assert.equal(`${verified.status} ${verified.stderr}`, "0 ");
  });

  await t.test("runs processes as other users with limits of their own, in spite of its hardening", async () => {
    systemd.must(process.execPath, "--import", join(process.cwd(), "node_modules/tsx/dist/loader.mjs"), DEPLOY);
    assert.match(request(systemd), /^v1 65534 4096$/);
    const { problems } = JSON.parse(systemd.must(SLUICE, "status", "--json"));
    assert.deepEqual(problems, []);
  });

  await t.test("leaves HAProxy and the processes alone when it restarts, dies or stops", async () => {
    const before = identities(systemd);
    assert.equal(Object.keys(before).length, 4);
    systemd.must("systemctl", "restart", UNIT);
    await answers(systemd);
    assert.deepEqual(identities(systemd), before);

    const pid = mainPid(systemd);
    systemd.must("kill", "-KILL", pid);
    await until("another agent", () => !["0", pid].includes(mainPid(systemd)));
    await answers(systemd);
    assert.deepEqual(identities(systemd), before);

    systemd.must("systemctl", "stop", UNIT);
    assert.match(request(systemd), /^v1 /);
    const { status, stderr } = systemd.run(SLUICE, "status");
    assert.equal(status, 3, stderr);
    systemd.must("systemctl", "start", UNIT);
    await answers(systemd);
    assert.deepEqual(identities(systemd), before);
  });

  await t.test("stops on demand and stays so, and reopens its log when it is reloaded", async () => {
    systemd.must(SLUICE, "agent", "stop");
    await until("it has stopped", () => systemd.run("systemctl", "is-active", UNIT).stdout.trim() === "inactive");
    systemd.must("systemctl", "start", UNIT);
    await answers(systemd);
    systemd.must("systemctl", "reload", UNIT);
    await answers(systemd);
  });

  await t.test("has its events in the journal, one JSON line each", () => {
    const lines = systemd.must("journalctl", "--unit", UNIT, "--output", "cat", "--no-pager").trim().split("\n");
    const events = lines.flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []));
    assert.ok(events.some(({ message }) => /^web#0 of pool web \(release v1\) is adopted/.test(message)));
    assert.ok(events.every(({ at, data }) => !Number.isNaN(Date.parse(at)) && typeof data === "object"));
  });

  await t.test("runs as a user of its own as well", async () => {
    systemd.must("useradd", "--create-home", "deploy");
    const [socket, unit] = ["/run/deploy/agent.sock", "deploy-agent.service"];
    const options = ["--user", "deploy", "--directory", "/var/lib/deploy", "--socket", socket];
    systemd.must(SLUICE, "agent", "install", ...options, "--unit", `/etc/systemd/system/${unit}`);
    systemd.must("systemctl", "daemon-reload");
    systemd.must("systemctl", "start", unit);
    await until("it answers", () => systemd.run(SLUICE, "agent", "status", "--socket", socket).status === 0);
    assert.equal(systemd.must("stat", "--format", "%U %a", socket).trim(), "deploy 600");
  });
});

async function answers(systemd: Systemd): Promise<void> {
  await until("the agent answers", () => systemd.run(SLUICE, "agent", "status").status === 0);
}

function mainPid(systemd: Systemd): string {
  return systemd.must("systemctl", "show", "--property", "MainPID", "--value", UNIT).trim();
}

function request(systemd: Systemd): string {
  return systemd.must("curl", "--silent", "--fail", "http://127.0.0.1:8080/");
}

/** Process ids of the pool's processes, and of HAProxy's worker. */
function identities(systemd: Systemd): Record<string, number | undefined> {
  const { edges, pools } = JSON.parse(systemd.must(SLUICE, "status", "--json"));
  const processes = pools[0].processes.map(({ key, pid }: { key: string; pid: number }) => [key, pid]);
  return Object.fromEntries([["haproxy", edges[0].workerPid], ...processes]);
}
