import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { send } from "../../../src/agent/processes/identity";
import { type DoctorDocument, doctorDocument, doctorText } from "../../../src/cli/doctor";
import { startTestAgent, temporaryFolder } from "../../support/agent";
import { sluice } from "../support/sluice";
import { world } from "../support/world";

const UNMOUNT = "umount --all --lazy --types cgroup2";
const withoutMounts =
  spawnSync("unshare", ["--mount", "/bin/sh", "-c", UNMOUNT]).status === 0
    ? false
    : "nothing can be unmounted here for the test alone";

const verdicts = ({ checks }: DoctorDocument) => Object.fromEntries(checks.map(({ name, verdict }) => [name, verdict]));

test("doctor finds a good host good, and reports the problems of a bad one", async (t) => {
  const { sluice, client, socket, directory } = await world(t);
  const examine = async () => {
    const outcome = await sluice(["doctor", "--json"]);
    return { code: outcome.code, ...doctorDocument.parse(JSON.parse(outcome.stdout)) };
  };
  const fine = await examine();
  // A machine of developers may be short of disk or of open files, and have no cgroups for the agent.
  const { disk: _, limits: __, cgroups: ___, ...rest } = verdicts(fine);
  assert.deepEqual(rest, {
    traffic: "good",
    socket: "good",
    version: "good",
    haproxy: "good",
    "runtime API": "good",
    node: "good",
    state: "good",
    clock: "good",
    ports: "good",
    orphans: "good",
    reality: "good",
  });
  assert.equal(fine.code, 0);

  await chmod(socket, 0o666);
  await writeFile(join(directory, "state.copy.json"), "{}");
  await chmod(directory, 0o755);
  // HAProxy stands still, so that nobody answers.
  const master = (await client.edge("main"))?.observed.master ?? 0;
  const worker = (await client.edge("main"))?.observed.worker?.pid ?? 0;
  for (const pid of [master, worker]) send(pid, "SIGSTOP");
  t.after(() => {
    for (const pid of [master, worker]) send(pid, "SIGCONT");
  });
  const bad = await examine();
  assert.equal(bad.code, 1);
  const messages = bad.checks
    .filter(({ verdict }) => verdict === "problem")
    .map(({ name, message }) => `${name}: ${message}`);
  assert.ok(
    messages.some((message) => /^socket: \S+ has mode 0666, so everybody/.test(message)),
    messages.join("\n"),
  );
  assert.ok(
    messages.some((message) => /^state: \S+ belongs to user \d+ and has mode 755: chmod 0700 it/.test(message)),
  );
  assert.ok(
    messages.some((message) => /^state: \S+\/state\.copy\.json is not a state file of this version/.test(message)),
  );
  assert.ok(messages.some((message) => /^traffic: edge main: can't be observed: HAProxy did not answer/.test(message)));
});

test("doctor says that a program can outlive its stop, where the agent has no cgroups", {
  skip: withoutMounts,
}, async (t) => {
  const directory = await temporaryFolder(t);
  const node = join(directory, "node-without-cgroups");
  await writeFile(
    node,
    `#!/bin/sh\nexec unshare --mount /bin/sh -c '${UNMOUNT} && exec "$0" "$@"' ${process.execPath} "$@"\n`,
    {
      mode: 0o755,
    },
  );
  const { socket } = await startTestAgent(t, { directory: join(directory, "state"), node });
  const { stdout } = await sluice(["doctor", "--json", "--socket", socket]);
  const { checks } = doctorDocument.parse(JSON.parse(stdout));
  assert.deepEqual(
    checks.find(({ name }) => name === "cgroups"),
    {
      name: "cgroups",
      verdict: "warning",
      message:
        "a program that goes into a session of its own and clears its environment outlives its process's stop: this host has no cgroup v2: boot it with cgroup v2 alone (systemd.unified_cgroup_hierarchy=1)",
    },
  );
});

test("doctor --release examines a folder by what its pools run, and starts nothing", async (t) => {
  const { sluice, client, directory, processes, pool, release: first } = await world(t);
  await mkdir(join(first, "work", "bin"), { recursive: true });
  await writeFile(join(first, "work", "bin", "tool"), "#!/bin/sh\nexec sleep 10000\n", { mode: 0o755 });
  await pool("v2", {
    tool: { policy: "companion", command: ["./bin/tool", "--id", "{{release.id}}"], cwd: "{{release.path}}/work" },
  });
  await client.settle("web");
  const before = await processes();
  const release = join(directory, "next");
  const examine = (...more: string[]) => sluice(["doctor", "--release", release, "--json", ...more]);
  const missing = await examine();
  assert.equal(missing.code, 1);
  assert.match(missing.stdout, /next is not a folder on the agent's host: place the release there first/);

  await mkdir(join(release, "work", "bin"), { recursive: true });
  const tool = join(release, "work", "bin", "tool");
  const absent = doctorDocument.parse(JSON.parse((await examine()).stdout));
  assert.deepEqual(verdicts(absent), { "web/web": "good", "web/tool": "problem" });
  assert.match(
    absent.checks.find(({ name }) => name === "web/tool")?.message ?? "",
    /argv\[0\] \.\/bin\/tool does not exist/,
  );
  await writeFile(tool, "#!/bin/sh\nexec sleep 10000\n");
  const plain = doctorDocument.parse(JSON.parse((await examine()).stdout));
  assert.match(plain.checks.find(({ name }) => name === "web/tool")?.message ?? "", /is not executable; chmod \+x it/);
  await chmod(tool, 0o755);
  const ready = await examine("--pool", "web");
  assert.equal(ready.code, 0);
  assert.equal(doctorDocument.parse(JSON.parse(ready.stdout)).verdict, "good");
  const unknown = await examine("--pool", "wbe");
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /there is no pool "wbe": did you mean web/);
  assert.deepEqual(await processes(), before);
});

test("problems come first, and messages take lines of the screen's width", () => {
  const document: DoctorDocument = {
    where: "/run/sluice/agent.sock",
    verdict: "problem",
    checks: [
      { name: "haproxy", verdict: "good", message: "fine" },
      { name: "disk", verdict: "problem", message: "word ".repeat(40) },
      { name: "ports", verdict: "warning", message: "narrow" },
    ],
  };
  const text = doctorText(document, { colour: false, width: 80 });
  const lines = text.trimEnd().split("\n");
  assert.ok(
    lines.every((line) => line.length <= 80),
    text,
  );
  assert.equal(lines[0], "1 problem  /run/sluice/agent.sock");
  assert.match(lines[2] ?? "", /^PROBLEM {2}disk {5}word/);
  assert.match(lines.at(-2) ?? "", /^warning {2}ports {4}narrow$/);
  assert.match(lines.at(-1) ?? "", /^ok {7}haproxy {2}fine$/);
});
