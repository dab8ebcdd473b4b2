import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { AgentClient } from "../../../src/agent/client/client";
import { agentDocument } from "../../../src/cli/agent";
import { systemdUnit } from "../../../src/cli/agent/unit";
import { eventLine } from "../../../src/cli/events";
import { edgeStep } from "../../agent/support/pool";
import { endEverything, startTestAgent, temporaryFolder } from "../../support/agent";
import { freeRange } from "../../support/ports";
import { change } from "../../support/transaction";
import { until } from "../../support/until";
import { sluice } from "../support/sluice";

const PATIENT = { deadlineMs: 60_000, intervalMs: 50 };
const withoutSystemd =
  spawnSync("systemd-analyze", ["--version"]).status === 0 ? false : "needs systemd-analyze: apt-get install systemd";

test("systemd takes the unit as it is printed, and printing changes nothing", { skip: withoutSystemd }, async (t) => {
  const folder = await temporaryFolder(t);
  const directory = join(folder, "state folder");
  const { code, stdout } = await sluice(["agent", "install", "--print", "--directory", directory]);
  assert.equal(code, 0);
  assert.equal(existsSync(directory), false);
  const unit = join(folder, "sluice-agent.service");
  await writeFile(unit, stdout);
  const verified = spawnSync("systemd-analyze", ["verify", unit], { encoding: "utf8" });
  assert.equal(verified.status, 0, verified.stderr);
  assert.equal(verified.stderr, "");
});

test("the unit leaves the apps alone when the agent stops, and names what it must", () => {
  const unit = systemdUnit({
    node: "/opt/my node/bin/node",
    directory: "/var/lib/100%",
    runtimeDirectory: "sluice",
    user: "deploy",
  });
  const lines = unit.split("\n");
  for (const line of [
    "KillMode=process",
    "Restart=on-failure",
    "RestartForceExitStatus=75",
    "OOMPolicy=continue",
    "User=deploy",
    "RuntimeDirectory=sluice",
    "RuntimeDirectoryPreserve=yes",
    'ExecStart=/bin/sh /var/lib/100%%/bin/start.sh /var/lib/100%% "/opt/my node/bin/node"',
  ])
    assert.ok(lines.includes(line), line);
});

test("what is installed runs as its unit says: under a supervisor, with its events on standard output", async (t) => {
  const directory = await temporaryFolder(t);
  const socket = join(directory, "a.sock");
  const unitPath = join(directory, "sluice-agent.service");
  const installed = await sluice([
    "agent",
    "install",
    "--directory",
    directory,
    "--socket",
    socket,
    "--unit",
    unitPath,
  ]);
  assert.equal(installed.code, 0, installed.stderr);
  assert.match(installed.stdout, /systemctl daemon-reload && systemctl enable --now sluice-agent\.service/);
  const unit = await readFile(unitPath, "utf8");
  const command = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
  const environment = Object.fromEntries(
    [...unit.matchAll(/^Environment=([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
  );
  // As systemd does it.
  const start = () => {
    const child = spawn(command[0] ?? "", command.slice(1), {
      env: { PATH: process.env.PATH, ...environment },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
    t.after(() => child.kill("SIGKILL"));
    return {
      child,
      events: () =>
        text
          .split("\n")
          .filter(Boolean)
          .map((line) => eventLine.parse(JSON.parse(line))),
    };
  };
  t.after(() => endEverything(directory));
  const first = start();
  const client = new AgentClient(socket);
  t.after(() => client.close());
  await until("it to answer", () => client.about(), PATIENT);
  const shown = await sluice(["agent", "status", "--json", "--socket", socket]);
  assert.equal(shown.code, 0);
  const { guarded, pid } = agentDocument.parse(JSON.parse(shown.stdout));
  assert.deepEqual({ guarded, pid }, { guarded: true, pid: first.child.pid });
  await until(
    "the start on standard output",
    () => first.events().some(({ message }) => message.includes("listens on")),
    PATIENT,
  );

  // Ask as an update does for the version that is installed now.
  await client.shutdown({ restart: true });
  const [restartCode] = await once(first.child, "exit");
  assert.equal(restartCode, 75);
  const second = start();
  await until("the next one to answer", () => client.about(), PATIENT);
  await change(client, "edge/main", [edgeStep((await freeRange(1)).from)]);
  const stopped = await sluice(["agent", "stop", "--socket", socket]);
  assert.equal(stopped.code, 0, stopped.stderr);
  assert.equal(second.child.exitCode ?? (await once(second.child, "exit"))[0], 0);
  assert.equal((await sluice(["agent", "status", "--socket", socket])).code, 3);
});

test("an agent that a deployment started is shown, and options that can't be are refused together", async (t) => {
  const { socket, directory } = await startTestAgent(t);
  const { code, stdout } = await sluice(["agent", "status", "--socket", socket]);
  assert.equal(code, 0);
  assert.match(stdout, new RegExp(`state +${directory}\n`));
  const wrong = await sluice([
    "agent",
    "install",
    "--print",
    "--mode",
    "rw",
    "--group",
    "No Such",
    "--socket",
    "relative",
  ]);
  assert.equal(wrong.code, 2);
  for (const option of ["--mode", "--group", "--socket"])
    assert.match(wrong.stderr, new RegExp(`^sluice: ${option} `, "m"));
});
