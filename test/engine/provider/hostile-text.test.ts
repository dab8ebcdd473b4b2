import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { REPOSITORY } from "../support/engine";
import { HostedStack } from "../support/hosted";
import { outputOf, succeeded } from "../support/site";

const APP = path.join(REPOSITORY, "test", "fixtures", "engine", "app.mjs");
const LAUNCHER = path.join(REPOSITORY, "src", "cli", "sluice");
/** A title, a colour, a cleared screen in both forms, text that is turned around, and a line that is overwritten. */
const PRINTED = "\u001b]0;pwned\u0007\u001b[31mred\u001b[0m \u001b[2J\u009b2Jwiped \u202etxt.exe\rforged";
const PRINTS = `printf '\\033]0;pwned\\007\\033[31mred\\033[0m \\033[2J\\302\\2332Jwiped \\342\\200\\256txt.exe\\rforged\\n'`;
const STEERING = /(?![\n\r])[\p{Cc}\p{Cf}\u2028\u2029]/u;

/** Output of a verb on a real terminal, whose line ends are CR LF. */
async function onTerminal(args: string[], socket: string): Promise<string> {
  const command = [LAUNCHER, ...args, "--socket", socket].map((each) => `'${each}'`).join(" ");
  const env = { ...process.env, NO_COLOR: "1", TERM: "xterm" };
  const { stdout } = await promisify(execFile)("script", ["-qec", command, "/dev/null"], { env });
  return stdout;
}

test("text of an app and of a gate's command steers no terminal", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack, socket } = hosted;
  const server = { address: "127.0.0.1", port: hosted.port + 1 };
  const declare = (id: string, script: string, routes = {}) =>
    hosted.declare({
      edges: { main: hosted.edge() },
      backends: { api: { edge: "main", servers: { one: server } }, beta: { edge: "main", servers: { one: server } } },
      pools: { web: hosted.pool(id, {}, { command: ["sh", "-c", `${PRINTS}; ${script}`] }) },
      routes,
    });
  const serves = `exec node '${APP}' {{port}} {{release.id}}`;
  const assertSafe = (text: string) => {
    assert.doesNotMatch(text.replaceAll("\t", " "), STEERING);
    assert.match(text, /red wiped ·txt\.exe\s+(\| )?forged/);
    assert.doesNotMatch(text, /pwned/);
  };

  await declare("v1", serves);
  succeeded(await stack.up());

  await t.test("the engine's output of a promotion whose app fails", async () => {
    await declare("bad", "exit 7");
    const up = await stack.up();
    assert.notEqual(up.exit, 0);
    assertSafe(outputOf(up));
  });

  await t.test("the engine's output of a rollout whose gate fails", async () => {
    const gates = [{ kind: "command", command: ["sh", "-c", `${PRINTS} >&2; exit 3`] }];
    const stages = [{ split: "50%", window: "1 second", gates }];
    await declare("v1", serves, { half: { edges: ["main"], stable: "api", candidate: "beta", stages, stage: "50%" } });
    const up = await stack.up();
    assert.notEqual(up.exit, 0);
    assert.match(outputOf(up), /gate command: failed: sh exited with 3: /);
    assert.doesNotMatch(outputOf(up), STEERING);
    assert.doesNotMatch(outputOf(up), /pwned/);
  });

  await t.test("the verbs on a terminal", async () => {
    const verbs = [["logs", "web"], ["events"], ["evidence"], ["evidence", "last"], ["status"], ["doctor"]];
    const shown = await Promise.all(
      verbs.map((verb) => onTerminal(verb, socket).catch(({ stdout }) => stdout as string)),
    );
    for (const [index, text] of shown.entries()) {
      assert.doesNotMatch(text, STEERING, verbs[index]?.join(" "));
      assert.doesNotMatch(text, /pwned/);
    }
    assert.match(shown[0] ?? "", /red wiped ·txt\.exe/);
    assert.match(shown[3] ?? "", /gate command: failed/);
  });

  await t.test("logs that another program reads are exact", async () => {
    const { stdout } = await promisify(execFile)(LAUNCHER, ["logs", "web", "--socket", socket]);
    assert.ok(stdout.startsWith(`${PRINTED}\n`), JSON.stringify(stdout));
  });

  await t.test("the agent's events and its evidence pages", async () => {
    const events = await readFile(path.join(hosted.host, "events.ndjson"), "utf8");
    assert.match(events, /its last output:/);
    for (const line of events.trim().split("\n")) assert.doesNotMatch(line, /\\u00|[\p{Cc}\p{Cf}]|pwned/u);
    const [newest] = (await hosted.client.evidenceList(1)).evidence;
    const page = await readFile(path.join(newest?.folder ?? "", "index.html"), "utf8");
    assert.doesNotMatch(page, STEERING);
    assert.match(page, /gate command/);
  });
});
