import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Outcome, REPOSITORY, Workspace } from "../../test/engine/support/engine";
import { endEverything } from "../../test/support/agent";
import type { Scope } from "./scope";

/** A project with `stacks/main.cjs` as its entry point, whose agent and processes are ended with the scope. */
export async function workspace(
  scope: Scope,
  stack: string,
  { files, links, config }: { files: Record<string, string>; links: string[]; config: Record<string, string> },
): Promise<Workspace> {
  const main = "stacks/main.cjs";
  const made = await Workspace.create({
    // The stacks' entry point and the demo read the config of a project of this name.
    name: "sluice",
    stack,
    main,
    providers: { sluice: join(REPOSITORY, "src", "provider") },
    config,
    files: { [main]: readFileSync(join(REPOSITORY, main), "utf8"), ...files },
    links,
  });
  scope.after(() => made.close());
  scope.after(() => endEverything(agentFolder(made)));
  return made;
}

/** An outcome that is a success. @throws Error with what the command said */
export function good(outcome: Outcome): Outcome {
  if (outcome.exit === 0) return outcome;
  throw new Error(
    `${outcome.command} ended with ${outcome.exit}:\n${outcome.stdout.slice(-2000)}${outcome.stderr.slice(-2000)}`,
  );
}

/** A stack whose program declares an edge and as many backends on it as its config says, see `many-backends.ts`. */
export function backendsStack(scope: Scope, config: Record<string, string>): Promise<Workspace> {
  const program = readFileSync(join(__dirname, "many-backends.ts"), "utf8");
  return workspace(scope, "many", {
    files: { "stacks/many/index.ts": program },
    links: ["components", "src"],
    config,
  });
}

/** State folder of a stack's agent. */
export function agentFolder(stack: Workspace): string {
  return join(stack.folder, ".sluice", "hosts", "local");
}
