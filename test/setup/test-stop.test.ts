import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
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
  // Not its end: what it has said may still be on its way then.
  const closed = once(npm, "close");
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
    /** All that it has said, once it has ended. */
    output: async () => {
      await closed;
      return output;
    },
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

/** The process that runs the test files and tells how they went. */
function runnerIn(folder: string): number {
  const runner = processesOf(folder).find((pid) => read(`/proc/${pid}/cmdline`).includes("tools/tests/main.mjs"));
  assert(runner !== undefined, "the run has a runner");
  return runner;
}

async function signalUntilGone(pid: number, signal: NodeJS.Signals): Promise<void> {
  await until(`${pid} to end by ${signal}`, () => {
    try {
      return !process.kill(pid, signal);
    } catch {
      return true;
    }
  });
}

for (const [signal, file, parts] of [
  ["SIGTERM", "test/engine/edges/edges.test.ts", ["guard.sh", "agent.cjs", "haproxy", "pulumi-language-nodejs"]],
  ["SIGINT", "test/agent/transactions/routes.test.ts", ["guard.sh", "agent.cjs", "haproxy"]],
  ["SIGKILL", "test/agent/transactions/routes.test.ts", ["guard.sh", "agent.cjs", "haproxy"]],
] as const) {
  test(`npm test that ${signal} ends leaves nothing: ${parts.join(", ")}`, async (t) => {
    const run = npmTest(t, file);
    const folder = await run.folder();
    await until("the run to have started all parts", () => {
      const commands = commandsOf(folder);
      return parts.every((part) => commands.some((command) => command.includes(part)));
    });
    const runner = runnerIn(folder);
    // Ctrl-C reaches the whole group by the terminal, and comes to the runner again by way of npm.
    process.kill(signal === "SIGINT" ? -run.pid : run.pid, signal);
    if (signal === "SIGINT") await signalUntilGone(runner, signal);
    await until("all of it to be gone", () => {
      const left = commandsOf(folder);
      if (left.length > 0) throw new Error(`there are ${left.join("; ")}`);
      return !existsSync(folder);
    });
    await until("npm to have ended", () => !existsSync(`/proc/${run.pid}/stat`));
    if (signal !== "SIGKILL") assert.match(await run.output(), /\d+ passed, \d+ failed/, "it still says how it went");
  });
}
