import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { Cgroups, limitFiles, limitProblem } from "../../../src/agent/processes/cgroups";
import { isAlive } from "../../../src/agent/processes/identity";
import { until } from "../../support/until";
import { bench, identityOf, nextExit, script } from "./support";

const MOUNT = readFileSync("/proc/self/mountinfo", "utf8")
  .split("\n")
  .find((line) => line.includes(" - cgroup2 "))
  ?.split(" ")[4];
const NO_CGROUPS =
  MOUNT === undefined || process.getuid?.() !== 0
    ? "needs cgroup v2 and root: mount -t cgroup2 none /sys/fs/cgroup/unified"
    : false;
const NO_CONTROLLERS =
  NO_CGROUPS ||
  (limitProblem({ cpu: 1, memory: 1 }) === undefined ? false : "needs cgroup v2 with the cpu and memory controllers");

test("limits are written as the kernel reads them", () => {
  assert.deepEqual(limitFiles({ cpu: 1.5, memory: 64 * 1024 * 1024 }), {
    "cpu.max": "150000 100000",
    "memory.max": "67108864",
    "memory.oom.group": "1",
  });
  assert.deepEqual(limitFiles({ cpu: 0.01 }), { "cpu.max": "1000 100000" });
});

test("a limit that the host can't enforce is refused with the remedy", async (t) => {
  const top = await mkdtemp(join(tmpdir(), "sl-cg-"));
  t.after(() => rm(top, { recursive: true, force: true }));
  const has = async (files: Record<string, string>) => {
    await rm(top, { recursive: true, force: true });
    await mkdir(top);
    for (const [name, text] of Object.entries(files)) await writeFile(join(top, name), text);
  };
  const limits = { cpu: 1, memory: 1 };
  assert.equal(limitProblem({}, top), undefined);
  await has({ "cgroup.controllers": "hugetlb memory\n", "cgroup.subtree_control": "", "cgroup.procs": "1\n" });
  assert.equal(
    limitProblem(limits, top),
    `cgroup v2 of this host (${top}) does not have the cpu controller: boot it with cgroup v2 alone (systemd.unified_cgroup_hierarchy=1), or set limits.optional: true to do without`,
  );
  assert.equal(limitProblem({ memory: 1 }, top), undefined);
  const container = { "cgroup.type": "domain\n", "cgroup.controllers": "cpu memory\n" };
  await has({ ...container, "cgroup.subtree_control": "memory\n", "cgroup.procs": "1\n7\n" });
  assert.match(limitProblem(limits, top) ?? "", /^the cgroup of this container .* holds processes/);
  await has({ ...container, "cgroup.subtree_control": "memory cpu\n", "cgroup.procs": "1\n7\n" });
  assert.equal(limitProblem(limits, top), undefined);
  await has({ ...container, "cgroup.subtree_control": "", "cgroup.procs": "" });
  assert.equal(limitProblem(limits, top), undefined);
});

test("a process that is limited is in a cgroup of its own, without its shim, until it is removed", {
  skip: NO_CGROUPS,
}, async (t) => {
  const { open, launchFromDyingAgent, marker } = await bench(t);
  const cgroup = { optional: false };
  const parent = join(MOUNT ?? "", "sluice.slice", marker);
  const groupOf = async (pid = 0) => /^0::(.*)$/m.exec(await readFile(`/proc/${pid}/cgroup`, "utf8"))?.[1];
  // Leaves its session, its group and its environment behind.
  const daemon = `env -i setsid sh -c 'exec sleep 300' & echo "daemon $!"; exec sleep 300`;
  const [launched, left] = await launchFromDyingAgent({
    a: script(daemon, { cgroup }),
    left: script("exit 0", { cgroup }),
  });
  assert.equal(await groupOf(launched?.pid), `/sluice.slice/${marker}/a.process`);
  assert.notEqual(await groupOf(launched?.group), await groupOf(launched?.pid));
  assert.ok(existsSync(join(parent, "left.process")), left?.state);

  const host = await open();
  assert.equal(host.get("a")?.pid, launched?.pid);
  const members = async () =>
    (await readFile(join(parent, "a.process", "cgroup.procs"), "utf8")).split("\n").slice(0, -1);
  await until("the daemon to be there", async () => (await members()).length === 2);
  const daemonPid = Number((await members()).find((pid) => Number(pid) !== launched?.pid));
  const escaped = identityOf(daemonPid);
  await host.stop("a", { signal: "SIGTERM", graceMs: 5000 });
  await until("the daemon to be killed", () => !isAlive(escaped));
  await host.remove("a");
  assert.ok(!existsSync(join(parent, "a.process")));

  // Without a record, as where an agent was killed between the two.
  await mkdir(join(parent, "nobody.process"));
  host.close();
  const next = await open();
  assert.ok(!existsSync(join(parent, "nobody.process")));
  await next.remove("left");
  assert.ok(!existsSync(parent));
});

test("cgroups that a process has made below its own are removed with it, and what runs in them is killed", {
  skip: NO_CGROUPS,
}, async (t) => {
  const { open, marker } = await bench(t);
  const host = await open();
  const parent = join(MOUNT ?? "", "sluice.slice", marker);
  const inner = join(parent, "a.process", "inner", "deep");
  const makes = `mkdir -p ${inner}; (echo 0 >${inner}/cgroup.procs; exec env -i setsid sleep 300) & exec sleep 300`;
  await host.launch("a", script(makes, { cgroup: { optional: true } }));
  const members = async () =>
    existsSync(inner) ? (await readFile(join(inner, "cgroup.procs"), "utf8")).split("\n").slice(0, -1) : [];
  await until("a process to be in the inner one", async () => (await members()).length === 1);
  const escaped = identityOf(Number((await members())[0]));
  await host.stop("a", { signal: "SIGTERM", graceMs: 5000 });
  await host.remove("a");
  assert.equal(isAlive(escaped), false);
  assert.ok(!existsSync(parent));

  await mkdir(join(parent, "nobody.process", "inner"), { recursive: true });
  host.close();
  await open();
  assert.ok(!existsSync(join(parent, "nobody.process")));
});

test("a launch that fails leaves no cgroup", { skip: NO_CGROUPS }, async (t) => {
  const { open, marker } = await bench(t);
  const host = await open();
  const interpreted = join(await mkdtemp(join(tmpdir(), "sl-cg-")), "x");
  t.after(() => rm(join(interpreted, ".."), { recursive: true, force: true }));
  await writeFile(interpreted, "#!/nonexistent/interpreter\n", { mode: 0o755 });
  await assert.rejects(host.launch("a", { ...script(""), argv: [interpreted], cgroup: { optional: false } }));
  assert.ok(!existsSync(join(MOUNT ?? "", "sluice.slice", marker)));
});

test("a process without limits is started without a cgroup where none can be made", { skip: NO_CGROUPS }, async (t) => {
  const { open, events, marker } = await bench(t);
  const host = await open();
  const cgroup = { optional: true };
  await host.launch("a", script("exec sleep 60", { cgroup }));
  const parent = join(MOUNT ?? "", "sluice.slice", marker);
  assert.ok(existsSync(join(parent, "a.process")));
  await writeFile(join(parent, "cgroup.max.descendants"), "1");
  await host.launch("b", script("exec sleep 60", { cgroup }));
  assert.equal(host.get("b")?.state, "running");
  assert.match(events.at(-1)?.message ?? "", /^process b is started without a cgroup of its own: /);
  for (const id of ["a", "b"]) {
    await host.stop(id, { signal: "SIGTERM", graceMs: 5000 });
    await host.remove(id);
  }
  assert.ok(!existsSync(parent));
});

test("it is told why processes can't be kept in cgroups of their own", async (t) => {
  const top = await mkdtemp(join(tmpdir(), "sl-cg-"));
  t.after(() => rm(top, { recursive: true, force: true }));
  const file = join(top, "file");
  await writeFile(file, "");
  assert.match(
    (await new Cgroups("none", file).trackingProblem()) ?? "",
    /^cgroups in \S+file can't be used \(ENOTDIR/,
  );
  assert.equal(
    await new Cgroups("none", "/sys/kernel").trackingProblem(),
    "the agent may not create cgroups in /sys/kernel: run it as root",
  );
});

test("limits that can't be enforced keep a process from starting, unless they are optional", {
  skip: limitProblem({ memory: 1, cpu: 1 }) === undefined ? "this host enforces them" : false,
}, async (t) => {
  const { open, events } = await bench(t);
  const host = await open();
  await assert.rejects(
    host.launch("a", script("exec sleep 60", { cgroup: { cpu: 1, memory: 1, optional: false } })),
    /process a cannot be started: its limits can't be enforced: .*limits\.optional: true/,
  );
  await host.launch("a", script("exec sleep 60", { cgroup: { cpu: 1, memory: 1, optional: true } }));
  assert.equal(host.get("a")?.state, "running");
  assert.match(events.at(-1)?.message ?? "", /^process a is started without its limits: /);
});

test("the kernel enforces them", { skip: NO_CONTROLLERS }, async (t) => {
  const host = await (await bench(t)).open();
  const ended = nextExit(host, "a");
  const hog = "const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1));";
  const cgroup = { cpu: 0.5, memory: 64 * 1024 * 1024, optional: false };
  await host.launch("a", { ...script(""), argv: [process.execPath, "-e", hog], cgroup });
  assert.equal((await ended).exit?.signal, "SIGKILL");
  await host.remove("a");
});
