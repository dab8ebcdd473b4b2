import assert from "node:assert/strict";
import { chmod, mkdir, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { readStat } from "../../../src/agent/processes/identity";
import { until } from "../../support/until";
import { bench, nextExit, output, script, variablesOf } from "./support";

/** From here on, descriptors may come from whoever started the tests: Node.js makes lower ones only close at exec. */
const STRAY_DESCRIPTORS = 16;

test("a launched process has its own group and session, no input, and exactly the environment given", async (t) => {
  const { open, marker, directory } = await bench(t);
  const host = await open();
  const env = { PATH: "/usr/bin:/bin", GREETING: "grüße\nzwei", stat: "x" };
  const record = await host.launch("web.v1-0", {
    argv: ["sleep", "60"],
    cwd: directory,
    env,
    secretEnv: { TOKEN: "s3cret" },
    labels: { pool: "web" },
  });
  const { pid, group, startTime, startedAt, ...rest } = record;
  assert.deepEqual(rest, {
    id: "web.v1-0",
    argv: ["sleep", "60"],
    cwd: directory,
    labels: { pool: "web" },
    state: "running",
    adopted: false,
  });
  assert(Date.parse(startedAt) <= Date.now());
  const app = readStat(pid ?? 0);
  assert.equal(app?.group, group);
  assert.equal(app?.session, group);
  assert.equal(app?.parent, group);
  assert.equal(app?.startTime, startTime);
  assert.deepEqual(
    await variablesOf(pid),
    [
      ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
      "TOKEN=s3cret",
      `PWD=${directory}`,
      `SLUICE_AGENT=${marker}`,
      "SLUICE_INSTANCE=web.v1-0",
    ].sort(),
  );
  assert.equal(await readlink(`/proc/${pid}/cwd`), directory);
  const descriptors = await Promise.all(
    (await readdir(`/proc/${pid}/fd`))
      .filter((fd) => Number(fd) < STRAY_DESCRIPTORS)
      .map(async (fd) => [fd, await readlink(`/proc/${pid}/fd/${fd}`)]),
  );
  assert.deepEqual(Object.fromEntries(descriptors), {
    "0": "/dev/null",
    "1": host.outputPath("web.v1-0"),
    "2": host.outputPath("web.v1-0"),
  });
  assert.equal((await stat(host.outputPath("web.v1-0"))).mode & 0o777, 0o600);
});

test("the app inherits no ignored or blocked signal", async (t) => {
  const host = await (await bench(t)).open();
  const { pid } = await host.launch("a", { ...script(""), argv: ["sleep", "60"] });
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  assert.match(status, /^SigBlk:\t0+$/m);
  assert.match(status, /^SigIgn:\t0+$/m);
});

test("a secret is in no file of the process host and on no command line", async (t) => {
  const { open, directory } = await bench(t);
  const host = await open();
  const { pid, group } = await host.launch("a", {
    ...script(""),
    argv: ["sleep", "60"],
    secretEnv: { TOKEN: "s3cret-xyz" },
  });
  for (const name of await readdir(directory, { recursive: true })) {
    const path = join(directory, name);
    if ((await stat(path)).isFile()) assert.doesNotMatch(await readFile(path, "utf8"), /s3cret-xyz/, path);
  }
  for (const one of [pid, group]) assert.doesNotMatch(await readFile(`/proc/${one}/cmdline`, "utf8"), /s3cret-xyz/);
});

test("arguments reach the app as they are", async (t) => {
  const host = await (await bench(t)).open();
  const odd = ["", "two words", "$(touch /tmp/x)", "'\"`\\", "*", "-n", "line\nbreak", "é"];
  const ended = nextExit(host, "a");
  await host.launch("a", {
    ...script(""),
    argv: [process.execPath, "-e", "console.log(JSON.stringify(process.argv.slice(1)))", "--", ...odd],
  });
  await ended;
  assert.deepEqual(JSON.parse((await host.tail("a", { lines: 1 }))[0] ?? ""), odd);
});

test("an environment as large as the kernel takes it reaches the app, and a larger one is refused before", async (t) => {
  const host = await (await bench(t)).open();
  const env = (count: number) => ({
    PATH: process.env.PATH ?? "",
    ...Object.fromEntries(Array.from({ length: count }, (_, index) => [`V${index + 10}`, "x".repeat(131_072 - 5)])),
  });
  const { pid } = await host.launch("a", { ...script(""), argv: ["sleep", "60"], env: env(8) });
  assert.equal((await variablesOf(pid)).filter((variable) => variable.length === 131_071).length, 8);
  await assert.rejects(
    host.launch("b", { ...script(""), argv: ["sleep", "60"], env: env(60) }),
    /arguments and environment have 78\d{5} bytes, and the kernel passes at most \d+ to a program: pass what is large in a file/,
  );
});

test("what cannot start is refused with its reason, and leaves nothing behind", async (t) => {
  const { open, directory } = await bench(t);
  const host = await open();
  const place = join(directory, "..", `${directory.split("/").at(-1)}-place`);
  await mkdir(place);
  t.after(async () => rm(place, { recursive: true }));
  await writeFile(join(place, "plain"), "echo hello\n", { mode: 0o644 });
  await writeFile(join(place, "interpreted"), "#!/nonexistent/interpreter\n");
  await chmod(join(place, "interpreted"), 0o755);
  const PATH = process.env.PATH ?? "";
  const cases: [string, { argv?: string[]; cwd?: string; env?: Record<string, string> }, RegExp][] = [
    ["command not found", { argv: ["no-such-program"] }, /argv\[0\] no-such-program is in no folder of PATH/],
    ["path not found", { argv: ["./missing"] }, /argv\[0\] \.\/missing does not exist/],
    ["not executable", { argv: ["./plain"] }, /argv\[0\] \.\/plain is not executable; chmod \+x/],
    ["not executable, along PATH", { argv: ["plain"], env: { PATH: place } }, /argv\[0\] plain, as found .* chmod \+x/],
    ["a folder", { argv: [place] }, /is not a file/],
    ["no PATH", { argv: ["sleep"], env: {} }, /no PATH/],
    ["no program", { argv: [] }, /argv\[0\] is empty/],
    ["a dash", { argv: ["-x"] }, /argv\[0\] is -x/],
    ["cwd missing", { cwd: join(place, "gone") }, /cwd .*gone does not exist/],
    ["cwd a file", { cwd: join(place, "plain") }, /cwd .*plain is not a directory/],
    ["cwd relative", { cwd: "here" }, /cwd "here" is not an absolute path/],
    ["a name that shells drop", { env: { PATH, "A.B": "1" } }, /env has the name "A\.B"/],
    ["a name that shells use", { env: { PATH, IFS: "1" } }, /env sets IFS/],
    ["NUL", { env: { PATH, A: "x\0y" } }, /env\.A holds a NUL/],
    ["missing interpreter", { argv: ["./interpreted"] }, /interpreted could not be executed \(.*not found/],
    [
      "a big variable",
      { env: { PATH, BIG: "x".repeat(1 << 20) } },
      /variable BIG has 1048581 bytes, and the kernel passes at most 131072 in one text: .*in a file/,
    ],
  ];
  for (const [name, change, message] of cases) {
    const spec = { ...script(""), argv: ["sleep", "1"], cwd: place, ...change };
    await assert.rejects(host.launch("a", spec), { message }, name);
    assert.deepEqual(host.list(), [], name);
    assert.deepEqual(await readdir(directory, { recursive: true }), [".status"], name);
  }
});

test("malformed ids are refused everywhere", async (t) => {
  const host = await (await bench(t)).open();
  for (const id of ["", ".status", "../a", "a/b", "A", "-a", "a b", "a\n", "a".repeat(121)]) {
    await assert.rejects(host.launch(id, script("")), /does not match/);
    assert.throws(() => host.outputPath(id), /does not match/);
    await assert.rejects(host.tail(id, { lines: 1 }), /does not match/);
    await assert.rejects(host.stop(id, { signal: "SIGTERM", graceMs: 1 }), /there is no process/);
    await assert.rejects(host.remove(id), /there is no process/);
  }
});

test("an id in use is refused, also while its launch is under way, and can be used again once removed", async (t) => {
  const { open, directory } = await bench(t);
  const host = await open();
  const launch = host.launch("a", script("sleep 60"));
  await assert.rejects(host.launch("a", script("")), /id a is in use by a process that is starting/);
  await launch;
  await assert.rejects(host.launch("a", script("")), /id a is in use by a process that is running/);
  await assert.rejects(host.remove("a"), /process a is running; stop it/);
  await host.stop("a", { signal: "SIGTERM", graceMs: 5000 });
  await assert.rejects(host.launch("a", script("")), /id a is in use by a process that is exited/);
  await host.remove("a");
  assert.deepEqual(await readdir(directory, { recursive: true }), [".status"]);
  const { pid } = await host.launch("a", script("echo again; sleep 60"));
  await output(host, "a", /^again$/);
  assert(pid !== undefined);
});

test("a program that ends at once is launched all the same", async (t) => {
  const host = await (await bench(t)).open();
  for (let i = 0; i < 20; i++) {
    const ended = nextExit(host, `a${i}`);
    await host.launch(`a${i}`, script("exit 3"));
    assert.equal((await ended).exit?.code, 3);
  }
  await until("all records are exited", () => host.list().every(({ state }) => state === "exited"));
});
