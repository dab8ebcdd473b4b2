import { join } from "node:path";
import type { LoadMix } from "../load/load";
import type { LoadReport } from "../load/report";
import type { Outcome } from "./commands";
import type { Demo } from "./demo";
import type { Project } from "./project";

const STORIES = join(__dirname, "stories");

/** A story of `stacks/NAME`, told by real commands while a load runs; each is a file of that name in `stories`. */
export interface Story {
  /** Ports in a row that the stack takes, from `port` of its config on, and the story's own systems. */
  ports: number;
  /** Names of the stack's hosts, each of which gets a state folder. */
  hosts: readonly string[];
  /** The stack's config, without namespace. */
  config: (project: Pick<Project, "folder" | "hosts" | "port">) => Record<string, string>;
  load: Partial<LoadMix>;
  /** Releases that are to answer badly: what they answer counts as told by the story, not as lost. */
  bad?: readonly string[];
  steps: readonly Step[];
}

export interface Step {
  name: string;
  run: (demo: Demo) => Promise<Done>;
}

/** A step ends with the command that it was about; the last one has the load's totals. */
export type Done = Pick<Outcome, "command" | "exit"> & { load?: LoadReport };

export async function loadStory(name: string): Promise<Story> {
  return ((await import(join(STORIES, `${name}.ts`))) as { story: Story }).story;
}
