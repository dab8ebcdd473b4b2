import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { isAlive, readStat, send } from "../../../src/agent/processes/identity";
import { recoverDocument } from "../../../src/cli/recover";
import { startTestAgent } from "../../support/agent";
import { until } from "../../support/until";
import { sluice } from "../support/sluice";
import { world } from "../support/world";

const PATIENT = { deadlineMs: 60_000, intervalMs: 50 };

test("recover lists what can't be adopted, and with --force stops only what is provably this agent's", async (t) => {
  const { sluice, client, directory, about } = await world(t, {
    daemon: { policy: "companion", command: ["sleep", "20000"] },
    worker: { policy: "companion", command: ["sleep", "30000"] },
  });
  const nothing = await sluice(["recover"]);
  assert.equal(nothing.code, 0);
  assert.equal(nothing.stdout, "nothing to recover: this agent supervises all of its processes\n");

  // Somebody else's process, whose number is in the record of one of ours; and one with a marker of another agent.
  const foreign = spawn("sleep", ["40000"]);
  const stranger = spawn("sleep", ["50000"], {
    env: { ...process.env, SLUICE_AGENT: "another-agent", SLUICE_INSTANCE: "web.1.web.0" },
  });
  t.after(() => [foreign, stranger].forEach((child) => void child.kill("SIGKILL")));
  const identity = (pid: number | undefined) => {
    const stat = readStat(pid ?? 0);
    assert.ok(stat);
    return { pid: stat.pid, startTime: stat.startTime };
  };
  const others = [foreign, stranger].map(({ pid }) => identity(pid));
  // One of this agent's that has left everything behind by which it could be adopted, and ignores SIGTERM.
  const marker = JSON.parse(await readFile(join(directory, "state.json"), "utf8")).state.agent as string;
  const lost = spawn("/bin/sh", ["-c", "trap '' TERM; while :; do sleep 1; done"], {
    env: { ...process.env, SLUICE_AGENT: marker, SLUICE_INSTANCE: "web.0.gone.0" },
    detached: true,
    stdio: "ignore",
  });
  t.after(() => send(-(lost.pid ?? 0), "SIGKILL"));

  // The agent dies; meanwhile a record is spoilt, another one's number is given away, and a shim is killed.
  const pool = await client.pool("web");
  const of = (key: string) => pool?.processes.find((each) => each.key === key);
  const daemon = of("daemon#0");
  const worker = of("worker#0");
  const web = of("web#0");
  assert.ok(daemon && worker && web);
  const daemonStart = readStat(daemon.pid ?? 0)?.startTime ?? "";
  const shim = readStat(web.pid ?? 0)?.group ?? 0;
  const guard = readStat(about.pid)?.parent ?? 0;
  send(guard, "SIGSTOP");
  send(about.pid, "SIGKILL");
  const records = join(directory, "processes");
  await writeFile(join(records, daemon.id, "record.json"), "{ not json");
  const status = join(records, ".status", worker.id);
  const before = await readFile(status, "utf8");
  const workerShim = readStat(worker.pid ?? 0)?.group ?? 0;
  send(-workerShim, "SIGKILL");
  await until("the worker to be gone", () => readStat(worker.pid ?? 0) === undefined, PATIENT);
  await writeFile(status, before.replaceAll(String(worker.pid), String(foreign.pid)));
  send(shim, "SIGKILL");
  send(guard, "SIGCONT");
  await until("the guard to start another agent", async () => (await client.about()).pid !== about.pid, PATIENT);

  const listed = recoverDocument.parse(JSON.parse((await sluice(["recover", "--json"])).stdout));
  const kinds = (items: typeof listed.items) => items.map(({ kind, id, ours }) => `${kind} ${id} ${ours}`).toSorted();
  assert.equal(listed.forced, false);
  const expected = kinds(listed.items);
  assert.ok(expected.includes(`corrupt-record ${daemon.id} true`), expected.join("\n"));
  assert.ok(expected.includes("orphan web.0.gone.0 true"), expected.join("\n"));
  // The process of the spoilt record does not run beside its successor.
  assert.equal(isAlive({ pid: daemon.pid ?? 0, startTime: daemonStart }), false);
  assert.ok(expected.includes(`half-dead ${web.id} false`), expected.join("\n"));
  assert.ok(expected.includes(`pid-reused ${worker.id} false`), expected.join("\n"));
  const listing = await sluice(["recover"]);
  assert.equal(listing.code, 1);
  assert.match(listing.stdout, /\nsluice recover --force stops \d+ of \d+\n$/);

  const forced = recoverDocument.parse(JSON.parse((await sluice(["recover", "--force", "--json"])).stdout));
  const outcomes = forced.items.flatMap(({ ours, outcome }) => (ours ? [outcome] : []));
  assert.ok(
    outcomes.every((outcome) => outcome === "stopped" || outcome === "removed"),
    JSON.stringify(forced.items),
  );
  assert.deepEqual(
    others.filter((each) => !isAlive(each)),
    [],
  );
  const left = recoverDocument.parse(JSON.parse((await sluice(["recover", "--json"])).stdout));
  assert.deepEqual(
    left.items.filter(({ ours }) => ours),
    [],
  );
  assert.deepEqual(
    (await readdir(join(records, daemon.id))).filter((file) => file.includes("corrupt")),
    [],
  );
  // All wanted processes run.
  await until(
    "everything to run",
    async () => (await client.pool("web"))?.processes.every(({ state }) => state === "running"),
    PATIENT,
  );
});

test("recover --force does not say that it has stopped what comes again and again", async (t) => {
  const { directory, socket } = await startTestAgent(t);
  const marker = JSON.parse(await readFile(join(directory, "state.json"), "utf8")).state.agent as string;
  const goesOn = join(directory, "goes-on");
  const script = join(directory, "again.sh");
  await writeFile(goesOn, "");
  await writeFile(script, `trap '' TERM\nsleep 0.2\n[ ! -e ${goesOn} ] || sh ${script} </dev/null >/dev/null 2>&1 &\n`);
  t.after(() => rm(goesOn, { force: true }));
  const env = { ...process.env, SLUICE_AGENT: marker, SLUICE_INSTANCE: "web.0.again.0" };
  spawn("/bin/sh", [script], { env, detached: true, stdio: "ignore" }).unref();
  const { code, stdout } = await sluice(["recover", "--force", "--json", "--socket", socket]);
  assert.equal(code, 1, stdout);
  const last = recoverDocument.parse(JSON.parse(stdout)).items.at(-1);
  assert.equal(last?.outcome, "not stopped: it came while others were ended; try again, or stop first what starts it");
  await rm(goesOn);
  await until("it to end", async () => (await sluice(["recover", "--socket", socket])).code === 0, PATIENT);
});
