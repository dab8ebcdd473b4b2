import { createHash } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { freePorts } from "../support/ports";

export const ROOT = join(__dirname, "..", "..");
/** The story that runs where none is named. */
export const MAIN_STORY = "demo";
/** Folder for all stories in place of the checkout's, for tests. */
export const FOLDER_VARIABLE = "SLUICE_DEMO_FOLDER";
/** In the environment of the commands that a demo starts: its folder. By it a later demo finds what was left. */
export const MARKER = "SLUICE_DEMO";

/** Sockets of a host's HAProxy must fit into 107 bytes; this leaves room for a host's name and what they add to its folder. */
const LONGEST_HOSTS_FOLDER = 56;

/** Folders of a story. */
export interface StoryFolders {
  folder: string;
  /** Below it are the state folders of the story's agents. */
  hosts: string;
  report: string;
  /** Everything that the commands print; the demo itself shows the interesting lines. */
  output: string;
  /** The evidence of the story's promotion. */
  page: string;
  /** Names the demo that runs here, and its watchdog. */
  lock: string;
}

export interface Project extends StoryFolders {
  name: string;
  /** Of the first edge. */
  port: number;
  /** For `pulumi`: a home, a backend and a passphrase of the demo's own, so that nothing of the user's is touched. */
  env: NodeJS.ProcessEnv;
}

/** Requirements of a story for its project. */
export interface ProjectSpec {
  /** Ports in a row that the stack takes, from `port` of its config on, and the story's own systems. */
  ports: number;
  /** The stack's config, without namespace. */
  config: (project: Pick<Project, "folder" | "hosts" | "port">) => Record<string, string>;
}

export function foldersOf(name: string): StoryFolders {
  const all = process.env[FOLDER_VARIABLE] ?? join(ROOT, ".sluice", "demo");
  const folder = join(all, name);
  return {
    folder,
    hosts: hostsFolder(folder),
    report: join(name === MAIN_STORY ? all : folder, "report.json"),
    output: join(folder, "output.log"),
    page: join(folder, "evidence.html"),
    lock: join(folder, "lock.json"),
  };
}

/** In the story's own folder, or in the system's temporary folder where the checkout's path is too long. */
function hostsFolder(folder: string): string {
  const inside = join(folder, "hosts");
  if (inside.length <= LONGEST_HOSTS_FOLDER) return inside;
  return join(tmpdir(), `sluice-demo-${createHash("sha256").update(folder).digest("hex").slice(0, 8)}`);
}

/** Removes what an earlier demo wrote, and makes the story's empty folder. */
export function clear({ folder, hosts, report }: StoryFolders): void {
  for (const path of [folder, hosts, report]) rmSync(path, { recursive: true, force: true });
  mkdirSync(join(folder, "backend"), { recursive: true });
}

/** Writes a Pulumi project that runs the stack of a story. */
export async function createProject(name: string, story: ProjectSpec): Promise<Project> {
  const place = foldersOf(name);
  const { folder, hosts } = place;
  const port = await freePorts(story.ports);
  // The repository's own project file, seen from here; YAML contains JSON.
  const at = (path: string) => relative(folder, join(ROOT, path));
  const project = {
    name: "sluice",
    runtime: { name: "nodejs", options: { typescript: false } },
    main: at("stacks/main.cjs"),
    plugins: { providers: [{ name: "sluice", path: at("src/provider") }] },
  };
  const settings = { port: String(port), ...story.config({ folder, hosts, port }) };
  const config = Object.fromEntries(Object.entries(settings).map(([key, value]) => [`sluice:${key}`, value]));
  writeFileSync(join(folder, "Pulumi.yaml"), JSON.stringify(project, null, 2));
  writeFileSync(join(folder, `Pulumi.${name}.yaml`), JSON.stringify({ config }, null, 2));
  const env = {
    ...process.env,
    [MARKER]: folder,
    PULUMI_HOME: join(folder, "home"),
    PULUMI_BACKEND_URL: `file://${join(folder, "backend")}`,
    PULUMI_CONFIG_PASSPHRASE: "demo",
    PULUMI_SKIP_UPDATE_CHECK: "true",
  };
  return { ...place, name, port, env };
}
