import assert from "node:assert/strict";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import test from "node:test";
import { evidenceDocument, evidenceListDocument } from "../../../src/cli/evidence";
import { complete, ended, startWithRoute } from "../../agent/evidence/support";
import { startTestAgent } from "../../support/agent";
import { setRoute } from "../../support/harness";
import { OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { sluice } from "../support/sluice";

test("sluice evidence lists changes, shows one, and hands out its page", async (t) => {
  const agent = await startWithRoute(t);
  const { client, socket, directory } = agent;
  const run = (args: string[], env: Record<string, string> = {}) =>
    sluice(["evidence", ...args, "--socket", socket], { env: { DISPLAY: "", WAYLAND_DISPLAY: "", ...env } });
  const { id } = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
  await client.step(id, setRoute(0), () => undefined);
  await client.step(id, setRoute(5000), () => undefined);
  await client.abort(id, "gate sli: \u001b[31mfailed\u001b[0m");
  await ended(agent, id);

  await t.test("as a list, the newest first", async () => {
    const { code, stdout } = await run([]);
    assert.equal(code, 0);
    const [head = "", first = "", ...rest] = stdout.trimEnd().split("\n");
    assert.match(head, /^id +when +target +change +verdict +took +who +why$/);
    assert.match(
      first,
      new RegExp(
        `^${id.slice(0, 8)}  \\d{4}-\\d\\d-\\d\\d .* UTC  route/api +new \\(50%\\) +undone .* tester@here  gate sli: `,
      ),
    );
    assert.equal(rest.length, 3);
    assert.ok(!stdout.includes("\u001b"));
    assert.equal((await run(["--last", "2"])).stdout.trimEnd().split("\n").length, 3);
    assert.equal((await run(["--target", "edge/main"])).stdout.trimEnd().split("\n").length, 2);
    assert.equal((await run(["--target", "pool/none"])).stdout, "there is no evidence of a change of pool/none\n");
  });

  await t.test("as JSON of its schema", async () => {
    const list = evidenceListDocument.parse(JSON.parse((await run(["--json"])).stdout));
    assert.deepEqual(
      list.evidence.map(({ target, verdict }) => [target, verdict]),
      [
        ["route/api", "undone"],
        ["backend/main/green", "committed"],
        ["backend/main/blue", "committed"],
        ["edge/main", "committed"],
      ],
    );
    const one = evidenceDocument.parse(JSON.parse((await run([id.slice(0, 6), "--json"])).stdout));
    assert.equal(one.record.id, id);
    assert.equal(dirname(one.folder ?? ""), join(directory, "evidence"));
  });

  await t.test("one, in lines, with its page in a private file where there is no screen", async () => {
    // Its end is looked at some seconds later; until then the page may still change.
    await complete(evidenceDocument.parse(JSON.parse((await run([id, "--json"])).stdout)).folder ?? "");
    const { code, stdout } = await run(["last", "--open"]);
    assert.equal(code, 0);
    assert.match(stdout, /^verdict {2} *undone: route\/api is as it was before: the deployer aborted it\n/);
    assert.ok(!stdout.includes("\u001b"));
    const [, path = ""] = /\nno browser can be opened here: the page is (\/\S+\.html)\n$/.exec(stdout) ?? [];
    t.after(() => rm(dirname(path), { recursive: true, force: true }));
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await stat(dirname(path))).mode & 0o777, 0o700);
    const page = await readFile(path, "utf8");
    assert.match(page, /<header class="undone">/);
    assert.equal((await run([id, "--html", "-"])).stdout, page);
  });

  await t.test("of several agents, with all parts of a change on one page", async (t) => {
    const other = await startTestAgent(t);
    const parts = [
      { client, socket, target: "route/api" },
      { client: other.client, socket: other.socket, target: "pool/web" },
    ] as const;
    const begun: ((typeof parts)[number] & { id: string })[] = [];
    for (const part of parts) {
      const opened = await part.client.begin({ target: part.target, owner: OWNER, leaseMs: 60_000 });
      begun.push({ ...part, id: opened.id });
      const now = Date.now();
      // The list has the newest first, by the millisecond.
      await until("the next millisecond", () => Date.now() > now);
    }
    const program = { urn: "urn", project: "shop", stack: "prod", group: "one", update: "up" };
    const known = begun.map((part) => ({ id: part.id, target: part.target, socket: part.socket }));
    for (const part of begun) {
      await part.client.notes(part.id, [{ kind: "program", at: Date.now(), program: { ...program, parts: known } }]);
      await part.client.abort(part.id, "gone wrong");
      await ended(part, part.id);
    }
    const both = async (...args: string[]) => (await run([...args, "--socket", other.socket])).stdout;
    assert.match(await both("--last", "2"), /^id +when +agent +target .*\n.* pool\/web .*\n.* route\/api /);
    const shown = await both(begun[0]?.id ?? "");
    assert.match(shown, /\nwith another one \(undone\):\n[0-9a-f]{8} {2}undone {2}pool\/web of /);
    const page = await both(begun[0]?.id ?? "", "--html", "-");
    assert.match(page, /<title>undone · /);
    assert.deepEqual([...page.matchAll(/<article /g)].length, 2);
    const json = evidenceDocument.parse(JSON.parse(await both(begun[1]?.id ?? "", "--update", "--json")));
    assert.deepEqual([json.record.target, json.others.map(({ record }) => record.target)], ["pool/web", ["route/api"]]);
    // Alone, it says what the rest is.
    const alone = (await run([begun[0]?.id ?? ""])).stdout;
    assert.match(
      alone,
      new RegExp(`\\n {13}${begun[1]?.id.slice(0, 8)} {2}pool/web of the agent at ${other.socket}\\n`),
    );
  });

  await t.test("while it runs", async () => {
    const open = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
    assert.match((await run([open.id])).stdout, /^verdict {2} *running: route\/api is being changed\n/);
    await client.abort(open.id, "test");
  });

  await t.test("by a program that finds no browser, it says where the page is", async () => {
    const bin = join(directory, "opener");
    await mkdir(bin);
    await writeFile(join(bin, "xdg-open"), "#!/bin/sh\nexit 3\n", { mode: 0o700 });
    const env = { DISPLAY: ":0", PATH: `${bin}:${process.env.PATH}` };
    const [, path = ""] =
      /\nno browser can be opened here: the page is (\/\S+)\n$/.exec((await run([id, "--open"], env)).stdout) ?? [];
    t.after(() => rm(dirname(path), { recursive: true, force: true }));
    assert.match(await readFile(path, "utf8"), /<header class="undone">/);
  });

  await t.test("and what can't be read is said, with exit 1", async () => {
    const { folder = "" } = evidenceDocument.parse(JSON.parse((await run([id, "--json"])).stdout));
    await complete(folder);
    const other = evidenceListDocument.parse(JSON.parse((await run(["--target", "edge/main", "--json"])).stdout));
    const [{ folder: spoilt = "" } = {}] = other.evidence;
    // An agent that has listed it already knows its summary.
    const name = `${basename(spoilt).slice(0, -1)}${spoilt.endsWith("0") ? 1 : 0}`;
    await mkdir(join(dirname(spoilt), name));
    await writeFile(join(dirname(spoilt), name, "evidence.json"), "{ cut");
    const { code, stdout } = await run([]);
    assert.equal(code, 1);
    assert.match(stdout, new RegExp(`^\\S+/${name} can't be read: its change is not listed\\nid `));
    const { unreadable } = evidenceListDocument.parse(JSON.parse((await run(["--json"])).stdout));
    assert.deepEqual(unreadable, [join(dirname(spoilt), name)]);
    await rm(join(dirname(spoilt), name), { recursive: true });
    assert.equal((await run([])).code, 0);
  });

  await t.test("what can't be meant is refused", async () => {
    const refused = async (args: string[]) => {
      const { code, stderr } = await run(args);
      assert.equal(code, 2, stderr);
      return stderr;
    };
    assert.match(await refused(["ffffffff-ffff"]), /"ffffffff-ffff" is not a recorded change: see "sluice evidence"/);
    assert.match(await refused([id.slice(0, 2)]), /is too short for an id: give at least 4 characters/);
    assert.match(await refused(["--open"]), /--open, --html and --update apply to one change: give its id, or "last"/);
    assert.match(await refused([id, "--html", "/nowhere/x.html"]), /--html \/nowhere\/x.html can't be written: ENOENT/);
  });
});

test("sluice evidence lists the backends of one update in one line, and one that failed by itself", async (t) => {
  const agent = await startWithRoute(t);
  const { client, socket } = agent;
  const run = async (...args: string[]) => (await sluice(["evidence", "--socket", socket, ...args])).stdout;
  const program = { urn: "urn:pulumi:dev::test::sluice:index:Backend::b", update: "one" };
  const ids: string[] = [];
  for (const name of ["b1", "b2", "b3"]) {
    const { id } = await client.begin({ target: `backend/main/${name}`, owner: OWNER, leaseMs: 60_000 });
    await client.notes(id, [{ kind: "program", at: Date.now(), program }]);
    await client.step(id, { verb: "backend.set", edge: "main", backend: name, spec: { servers: {} } }, () => undefined);
    if (name === "b3") await client.abort(id, "given up");
    else await client.commit(id);
    await ended(agent, id);
    ids.push(id);
  }
  const [, failed, both] = (await run()).trimEnd().split("\n");
  assert.match(failed ?? "", new RegExp(`^${ids[2]?.slice(0, 8)} .* backend/main/b3 +new +undone .* given up`));
  assert.match(both ?? "", new RegExp(`^${ids[1]?.slice(0, 8)} .* backend/main/b2 and 1 more +new +committed `));
  const document = evidenceListDocument.parse(JSON.parse(await run("--json", "--last", "3")));
  assert.deepEqual(
    document.evidence.map(({ target }) => target),
    ["backend/main/b3", "backend/main/b2", "backend/main/b1"],
  );
  assert.match(
    await run("--target", "backend/main/b1"),
    new RegExp(`\\n${ids[0]?.slice(0, 8)} .* backend/main/b1 +new`),
  );
});
