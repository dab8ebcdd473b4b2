import { createHash } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { freePorts } from "../support/ports";

const ROOT = join(__dirname, "..", "..");
/** Everything that the demo writes, its report included. */
export const FOLDER = join(ROOT, ".sluice", "demo");
export const REPORT = join(FOLDER, "report.json");
/** Everything that the commands print; the demo itself shows the interesting lines. */
export const OUTPUT = join(FOLDER, "output.log");
/** In the environment of every process that the demo starts: the demo's folder. By it a later demo finds what was left. */
export const MARKER = "SLUICE_DEMO";

/** The stack takes the edge's port and the 21 after it: 20 for the pool, one for its service. */
const PORTS = 22;
/** Sockets of the host's HAProxy must fit into 107 bytes; this is what they add to the host's folder, with some room. */
const LONGEST_HOST_FOLDER = 65;

export interface Project {
  folder: string;
  /** State folder of the agent. */
  host: string;
  /** Of the edge. */
  port: number;
  /** For `pulumi`: a home, a backend and a passphrase of the demo's own, so that nothing of the user's is touched. */
  env: NodeJS.ProcessEnv;
}

/** The agent's state folder: in the demo's own, or in the system's temporary folder where the checkout's path is too long. */
export function hostFolder(): string {
  const inside = join(FOLDER, "host");
  if (inside.length <= LONGEST_HOST_FOLDER) return inside;
  return join(tmpdir(), `sluice-demo-${createHash("sha256").update(FOLDER).digest("hex").slice(0, 8)}`);
}

/** Removes what an earlier demo wrote, and writes a Pulumi project that runs `stacks/demo`. */
export async function createProject(): Promise<Project> {
  const host = hostFolder();
  for (const folder of [FOLDER, host]) rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(FOLDER, "backend"), { recursive: true });
  const port = await freePorts(PORTS);
  // The repository's own project file, seen from here; YAML contains JSON.
  const at = (path: string) => relative(FOLDER, join(ROOT, path));
  const project = {
    name: "sluice",
    runtime: "nodejs",
    main: at("stacks/main.cjs"),
    plugins: { providers: [{ name: "sluice", path: at("provider") }] },
  };
  const config = { "sluice:directory": host, "sluice:port": String(port), "sluice:release": "v1" };
  writeFileSync(join(FOLDER, "Pulumi.yaml"), JSON.stringify(project, null, 2));
  writeFileSync(join(FOLDER, "Pulumi.demo.yaml"), JSON.stringify({ config }, null, 2));
  const env = {
    ...process.env,
    [MARKER]: FOLDER,
    PULUMI_HOME: join(FOLDER, "home"),
    PULUMI_BACKEND_URL: `file://${join(FOLDER, "backend")}`,
    PULUMI_CONFIG_PASSPHRASE: "demo",
    PULUMI_SKIP_UPDATE_CHECK: "true",
  };
  return { folder: FOLDER, host, port, env };
}
