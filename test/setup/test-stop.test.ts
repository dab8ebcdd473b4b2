import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import test, { type TestContext } from "node:test";
import { allProcesses, processesOf, read } from "../../tools/processes.mjs";
import { until } from "../support/until";

/** Starts `npm test` on a file, in a process group of its own; what it leaves is ended after the test. */
function npmTest(t: TestContext, file: string) {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const npm = spawn("npm", ["test", "--", file], { env, detached: true, stdio: ["ignore", "pipe", "inherit"] });
  const pid = npm.pid ?? 0;
  let output = "";
  npm.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const folders = new Set<string>();
  t.after(() => {
    const left = [...folders].flatMap((folder) => processesOf(folder));
    for (const each of npm.exitCode === null && npm.signalCode === null ? [...left, -pid] : left)
      process.kill(each, "SIGKILL");
  });
  return {
    pid,
    /** The temporary folder that the run has made for itself. */
    folder: () =>
      until("npm test to run a test file", () => {
        const found = temporaryFolderBelow(pid);
        if (found !== undefined) folders.add(found);
        return found;
      }),
    output: () => output,
  };
}

function temporaryFolderBelow(pid: number): string | undefined {
  const children = allProcesses().filter(({ parent }) => parent === pid);
  for (const child of children) {
    const folder = /(?:^|\0)TMPDIR=([^\0]+)/.exec(read(`/proc/${child.pid}/environ`))?.[1];
    const found = folder === process.env.TMPDIR ? undefined : folder;
    const below = found ?? temporaryFolderBelow(child.pid);
    if (below !== undefined) return below;
  }
  return undefined;
}

const commandsOf = (folder: string) => processesOf(folder).map((pid) => read(`/proc/${pid}/cmdline`));

for (const [signal, file, parts] of [
  ["SIGTERM", "test/engine/edges.test.ts", ["guard.sh", "agent.cjs", "haproxy", "pulumi-language-nodejs"]],
  ["SIGINT", "test/agent/routes.test.ts", ["guard.sh", "agent.cjs", "haproxy"]],
  ["SIGKILL", "test/agent/routes.test.ts", ["guard.sh", "agent.cjs", "haproxy"]],
] as const) {
  test(`npm test that ${signal} ends leaves nothing: ${parts.join(", ")}`, async (t) => {
    const run = npmTest(t, file);
    const folder = await run.folder();
    await until("the run to have started all parts", () => {
      const commands = commandsOf(folder);
      return parts.every((part) => commands.some((command) => command.includes(part)));
    });
    // Ctrl-C reaches the whole group by the terminal, so that npm does not pass it on.
    process.kill(signal === "SIGINT" ? -run.pid : run.pid, signal);
    await until("all of it to be gone", () => {
      const left = commandsOf(folder);
      if (left.length > 0) throw new Error(`there are ${left.join("; ")}`);
      return !existsSync(folder);
    });
    await until("npm to have ended", () => !existsSync(`/proc/${run.pid}/stat`));
    if (signal !== "SIGKILL") assert.match(run.output(), /\d+ passed, \d+ failed/, "it still says how it went");
  });
}
