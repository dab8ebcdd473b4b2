import { join } from "node:path";
import type { LoadMix } from "../load/load";
import type { Demo, Done } from "./demo";
import type { ProjectSpec } from "./project";

const STORIES = join(__dirname, "stories");

/** A story of `stacks/NAME`, told by real commands while a load runs; each is a file of that name in `stories`. */
export interface Story extends ProjectSpec {
  /** Names of the stack's hosts, each of which gets a state folder. */
  hosts: readonly string[];
  load: Partial<LoadMix>;
  /** Releases that are to answer badly: what they answer counts as told by the story, not as lost. */
  bad?: readonly string[];
  steps: readonly Step[];
}

interface Step {
  name: string;
  run: (demo: Demo) => Promise<Done>;
}

export async function loadStory(name: string): Promise<Story> {
  return ((await import(join(STORIES, `${name}.ts`))) as { story: Story }).story;
}
