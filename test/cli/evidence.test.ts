import assert from "node:assert/strict";
import { readFile, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import test from "node:test";
import { evidenceDocument, evidenceListDocument } from "../../cli/evidence";
import { complete, ended, setRoute, startWorld } from "../agent/evidence/support";
import { OWNER } from "../agent/support/pool";
import { sluice } from "./support/sluice";

test("sluice evidence lists changes, shows one, and hands out its page", async (t) => {
  const { agent } = await startWorld(t);
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
    assert.equal((await run(["--target", "pool/none"])).stdout, "no change of pool/none was recorded yet\n");
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
    assert.equal(dirname(one.folder), join(directory, "evidence"));
  });

  await t.test("one, in lines, with its page in a private file where there is no screen", async () => {
    // Its end is looked at some seconds later; until then the page may still change.
    await complete(evidenceDocument.parse(JSON.parse((await run([id, "--json"])).stdout)).folder);
    const { code, stdout } = await run(["last", "--open"]);
    assert.equal(code, 0);
    assert.match(stdout, /^verdict {2} *undone: route\/api is as it was before: the deploying side gave it up\n/);
    assert.ok(!stdout.includes("\u001b"));
    const [, path = ""] = /\nno browser can be opened here: the page is (\/\S+\.html)\n$/.exec(stdout) ?? [];
    t.after(() => rm(dirname(path), { recursive: true, force: true }));
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await stat(dirname(path))).mode & 0o777, 0o700);
    const page = await readFile(path, "utf8");
    assert.match(page, /<header class="undone">/);
    assert.equal((await run([id, "--html", "-"])).stdout, page);
  });

  await t.test("while it runs", async () => {
    const open = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
    assert.match((await run([open.id])).stdout, /^verdict {2} *running: route\/api is being changed\n/);
    await client.abort(open.id, "test");
  });

  await t.test("what can't be meant is refused", async () => {
    const refused = async (args: string[]) => {
      const { code, stderr } = await run(args);
      assert.equal(code, 2, stderr);
      return stderr;
    };
    assert.match(
      await refused(["ffffffff-ffff"]),
      /"ffffffff-ffff" is no change that was recorded: see "sluice evidence"/,
    );
    assert.match(await refused([id.slice(0, 2)]), /is too short for an id: give 4 characters/);
    assert.match(await refused(["--open"]), /--open and --html are about one change: give its id, or "last"/);
    assert.match(await refused([id, "--html", "/nowhere/x.html"]), /--html \/nowhere\/x.html can't be written: ENOENT/);
  });
});
