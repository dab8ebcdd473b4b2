import { join } from "node:path";
import { type BuildOptions, build } from "esbuild";
import type { AgentProgram } from "../../src/agent/client/launch";
import { REPOSITORY } from "../../test/engine/support/engine";
import { temporaryFolder } from "../../test/support/agent";
import type { Scope } from "../support/scope";

const VERSION = "0.0.0+unwatched";

/** The agent's program as it is, but for its watch of outages, which does nothing: the other side of what that costs. */
export async function unwatchedAgent(scope: Scope): Promise<AgentProgram> {
  const path = join(await temporaryFolder(scope), "agent.cjs");
  const { buildOptions } = require(join(REPOSITORY, "tools", "bundle.cjs")) as {
    buildOptions(name: string, entry: string, define: Record<string, string>): BuildOptions;
  };
  let replaced = 0;
  await build({
    ...buildOptions("agent", "src/agent/main.ts", { SLUICE_BUILD_VERSION: JSON.stringify(VERSION) }),
    outfile: path,
    write: true,
    plugins: [
      {
        name: "unwatched",
        setup: ({ onLoad }) =>
          onLoad({ filter: /\/host\/outage-watch\.ts$/ }, () => {
            replaced += 1;
            return { contents: "export class OutageWatch { start() {} close() {} }", loader: "ts" };
          }),
      },
    ],
  });
  if (replaced !== 1) throw new Error(`the watch of outages is in ${replaced} files, not in one`);
  return { path, version: VERSION };
}
