import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { codeOf } from "../../../src/model/types/errors";
import { lendProgramHost } from "./programs";

export const REPOSITORY = path.resolve(__dirname, "..", "..", "..");
/** No single command of a test may hang longer than this. */
const COMMAND_DEADLINE_MS = 120_000;

/** One event of the engine, as `--event-log` writes it (sdk/go/common/apitype/events.go). */
export interface EngineEvent {
  sequence: number;
  diagnosticEvent?: { urn?: string; message: string; severity: string; ephemeral?: boolean };
  resourcePreEvent?: { metadata: StepMetadata };
  resOutputsEvent?: { metadata: StepMetadata };
  resOpFailedEvent?: { metadata: StepMetadata };
  policyEvent?: { resourceUrn: string; message: string; policyName: string; enforcementLevel: string };
  summaryEvent?: { resourceChanges: Record<string, number> };
}

export interface StepMetadata {
  op: string;
  urn: string;
  type: string;
  diffs?: string[] | null;
  detailedDiff?: Record<string, { diffKind: string; inputDiff: boolean }> | null;
  old?: { inputs: Record<string, unknown>; outputs: Record<string, unknown> } | null;
  new?: { inputs: Record<string, unknown>; outputs: Record<string, unknown> } | null;
}

/** A resource as the state file has it; secrets are encrypted. */
export interface RecordedResource {
  urn: string;
  type: string;
  id?: string;
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

export interface Outcome {
  command: string;
  /** The exit code, or the name of the signal that ended the command. */
  exit: number | string;
  stdout: string;
  stderr: string;
  seconds: number;
  events: EngineEvent[];
}

/** A command under way. */
export interface Started {
  /** The CLI's own process. */
  pid: number;
  /** Standard output so far. */
  output(): string;
  /** The events so far. */
  events(): EngineEvent[];
  /** To the CLI alone, as `kill` does. */
  signal(signal: NodeJS.Signals): void;
  finished: Promise<Outcome>;
}

export interface WorkspaceOptions {
  /** Project name. @default "test" */
  name?: string;
  /** Stack name. @default "dev" */
  stack?: string;
  /** Stack config: `sluice:program` and the like. */
  config?: Record<string, string>;
  /** A TypeScript program; with `links` it imports `./components` and the like. Takes the place of `main`. */
  program?: string;
  /** The program's file, relative to the workspace or absolute; its folder is where it runs. @default "main.cjs" */
  main?: string;
  /** Provider plugins: name to folder (absolute) that holds `pulumi-resource-<name>`. */
  providers?: Record<string, string>;
  /** Files to write: path in the workspace to content. */
  files?: Record<string, string>;
  /** The repository's own files and folders to link in under the same path: `components`, `stacks/main.cjs`. */
  links?: string[];
  /** Further environment of every command. */
  env?: Record<string, string>;
}

type Verb = "up" | "preview" | "refresh" | "destroy" | "import" | "cancel";

const ALWAYS = ["--non-interactive", "--color", "never"];
const BY_VERB: Record<Verb, string[]> = {
  up: ["--yes", "--skip-preview"],
  preview: [],
  refresh: ["--yes", "--skip-preview"],
  destroy: ["--yes", "--skip-preview"],
  import: ["--yes", "--skip-preview"],
  cancel: ["--yes"],
};

/** The users' entry point, which loads the SDK in the shortest time. */
const ENTRY_POINT = path.join(REPOSITORY, "stacks", "main.cjs");

/**
 * A Pulumi project in a temporary folder, with a home, a file backend and one stack of its own, driven through the real
 * CLI on PATH. The repository's node_modules are linked in. Call `close` when done.
 */
export class Workspace {
  #commands = 0;
  readonly #running = new Set<ChildProcess>();
  readonly #orphans: number[] = [];

  private constructor(
    readonly folder: string,
    private stack: string,
    private readonly env: NodeJS.ProcessEnv,
    private readonly isInline: boolean,
  ) {}

  static async create(options: WorkspaceOptions = {}): Promise<Workspace> {
    const { name = "test", stack = "dev", main = "main.cjs", providers = {}, files = {} } = options;
    const folder = mkdtempSync(path.join(os.tmpdir(), "sl-engine-"));
    const env = {
      ...process.env,
      PULUMI_HOME: path.join(folder, ".home"),
      PULUMI_BACKEND_URL: `file://${path.join(folder, ".state")}`,
      PULUMI_CONFIG_PASSPHRASE: "test",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      // Lets the CLI take --event-log.
      PULUMI_DEBUG_COMMANDS: "true",
      ...options.env,
    };
    const workspace = new Workspace(folder, stack, env, options.program !== undefined);
    const plugins = { providers: Object.entries(providers).map(([plugin, at]) => ({ name: plugin, path: at })) };
    await mkdir(path.join(folder, ".state"));
    for (const link of ["node_modules", ...(options.links ?? [])]) {
      await mkdir(path.dirname(path.join(folder, link)), { recursive: true });
      await symlink(path.join(REPOSITORY, link), path.join(folder, link));
    }
    // YAML contains JSON.
    const { program } = options;
    const config = program !== undefined ? { "sluice:program": { value: "program" } } : {};
    const runtime = { name: "nodejs", options: { typescript: false } };
    const project = { name, runtime, main, plugins, config };
    const stackFile = { config: options.config ?? {} };
    const written = {
      ...(program !== undefined && { "program.ts": program, "main.cjs": readFileSync(ENTRY_POINT, "utf8") }),
      "Pulumi.yaml": JSON.stringify(project),
      [`Pulumi.${stack}.yaml`]: JSON.stringify(stackFile),
    };
    for (const [file, content] of Object.entries({ "package.json": "{}", ...written, ...files })) {
      await workspace.write(file, content);
    }
    try {
      await workspace.#must(["stack", "init", stack]);
    } catch (error) {
      await workspace.close();
      throw error;
    }
    return workspace;
  }

  /** Writes a file below the workspace. */
  async write(file: string, content: string): Promise<void> {
    const target = path.join(this.folder, file);
    await mkdir(path.dirname(target), { recursive: true });
    await writeFile(target, content);
  }

  up = (...args: string[]): Promise<Outcome> => this.#runProgram("up", args);
  preview = (...args: string[]): Promise<Outcome> => this.#runProgram("preview", args);
  refresh = (...args: string[]): Promise<Outcome> => this.start("refresh", ...args).finished;
  destroy = (...args: string[]): Promise<Outcome> => this.start("destroy", ...args).finished;
  cancel = (...args: string[]): Promise<Outcome> => this.start("cancel", ...args).finished;

  /** Any other command, as it is given. */
  run = (...args: string[]): Promise<Outcome> => this.#spawn(args).finished;

  /** Likewise, with what it is to read from standard input. */
  answer = (input: string, ...args: string[]): Promise<Outcome> => this.#spawn(args, undefined, input).finished;

  /** Variables for the commands that follow. */
  use(env: Record<string, string>): void {
    Object.assign(this.env, env);
  }

  /** Gives the stack another name. */
  async renameStack(to: string): Promise<void> {
    await this.#must(["stack", "rename", to, "--stack", this.stack]);
    this.stack = to;
  }

  /** Gives the project another name, the way that a backend in files has for it. */
  async renameProject(to: string): Promise<void> {
    await this.#must(["stack", "rename", `organization/${to}/${this.stack}`, "--stack", this.stack]);
    const project = path.join(this.folder, "Pulumi.yaml");
    await writeFile(project, JSON.stringify({ ...JSON.parse(readFileSync(project, "utf8")), name: to }));
  }

  /** Sets stack config; `secret` encrypts it. */
  async config(key: string, value: string, secret = false): Promise<void> {
    await this.#must(["config", "set", "--stack", this.stack, secret ? "--secret" : "--plaintext", key, value]);
  }

  /** The stack's recorded state: the resources of `pulumi stack export`, and the operations that never ended. */
  async state(): Promise<{ resources: RecordedResource[]; pendingOperations: unknown[] }> {
    const { stdout } = await this.#must(["stack", "export", "--stack", this.stack]);
    const { deployment } = JSON.parse(stdout);
    return { resources: deployment.resources ?? [], pendingOperations: deployment.pending_operations ?? [] };
  }

  /** Starts a command without waiting for it; the stack and what makes it non-interactive are added. */
  start(verb: Verb, ...args: string[]): Started {
    this.#commands += 1;
    const log = path.join(this.folder, `.events-${this.#commands}.json`);
    const events = verb === "cancel" ? [] : ["--event-log", log];
    const target = verb === "cancel" ? [this.stack] : ["--stack", this.stack];
    return this.#spawn([verb, ...target, ...BY_VERB[verb], ...ALWAYS, ...events, ...args], log);
  }

  /** Ends what still runs, and removes the folder. */
  async close(): Promise<void> {
    for (const child of this.#running) {
      this.#orphans.push(...languageHostsOf(child.pid ?? 0));
      child.kill("SIGKILL");
    }
    for (const pid of this.#orphans) if (isLanguageHost(pid)) process.kill(pid, "SIGKILL");
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /**
   * Pulumi's backend in files writes a file beside each state that is not put in place at once: where the CLI is killed while it
   * does, every later command fails with `failed to load checkpoint: EOF` until that is removed, as `docs/operating.md` says.
   */
  #removeEmptyAttributes(): void {
    const state = path.join(this.folder, ".state");
    for (const entry of readdirSync(state, { recursive: true, encoding: "utf8" })) {
      const file = path.join(state, entry);
      if (file.endsWith(".attrs") && statSync(file).size === 0) rmSync(file);
    }
  }

  /** A command from its start to its end: a program that the test gives runs in a host that has loaded the SDK already. */
  async #runProgram(verb: Verb, args: string[]): Promise<Outcome> {
    if (!this.isInline) return this.start(verb, ...args).finished;
    const host = await lendProgramHost();
    let succeeded = false;
    try {
      const outcome = await this.start(verb, ...args, "--client", host.address).finished;
      succeeded = outcome.exit === 0;
      return outcome;
    } finally {
      host.end(succeeded);
    }
  }

  async #must(args: string[]): Promise<Outcome> {
    const outcome = await this.#spawn(args).finished;
    if (outcome.exit === 0) return outcome;
    throw new Error(`${outcome.command} ended with ${outcome.exit}:\n${outcome.stdout}${outcome.stderr}`);
  }

  #spawn(args: string[], log?: string, input?: string): Started {
    const started = performance.now();
    const child = spawn("pulumi", args, { cwd: this.folder, env: this.env, stdio: ["pipe", "pipe", "pipe"] });
    child.stdin.on("error", () => undefined).end(input);
    this.#running.add(child);
    const written = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream].setEncoding("utf8").on("data", (text: string) => {
        written[stream] += text;
      });
    }
    const events = () => (log === undefined ? [] : readEvents(log));
    const deadline = setTimeout(() => child.kill("SIGKILL"), COMMAND_DEADLINE_MS);
    const finished = new Promise<Outcome>((resolve, reject) => {
      child.on("error", (error: NodeJS.ErrnoException) => {
        clearTimeout(deadline);
        const hint = "there is no Pulumi engine on PATH: run the tests through `npm test`, which sets one up";
        reject(error.code === "ENOENT" ? new Error(hint, { cause: error }) : error);
      });
      // A killed CLI leaves its children the streams for a while, so the end of the process is what counts.
      child.on("exit", (code, signal) => {
        clearTimeout(deadline);
        this.#running.delete(child);
        const seconds = (performance.now() - started) / 1_000;
        const settle = () =>
          resolve({
            command: `pulumi ${args.join(" ")}`,
            exit: code ?? signal ?? "unknown",
            seconds,
            events: events(),
            ...written,
          });
        if (signal === "SIGKILL") this.#removeEmptyAttributes();
        if (signal) settle();
        else child.once("close", settle);
      });
    });
    return {
      pid: child.pid ?? 0,
      output: () => written.stdout,
      events,
      signal: (signal) => {
        if (signal === "SIGKILL") this.#orphans.push(...languageHostsOf(child.pid ?? 0));
        child.kill(signal);
      },
      finished,
    };
  }
}

/** A language host looks only every five minutes whether the CLI that started it is still there. */
function languageHostsOf(pid: number): number[] {
  const threads = existsSync(`/proc/${pid}/task`) ? readdirSync(`/proc/${pid}/task`) : [];
  const children = threads.flatMap((thread) => readProc(`/proc/${pid}/task/${thread}/children`).split(" "));
  return children.filter(Boolean).map(Number).filter(isLanguageHost);
}

function isLanguageHost(pid: number): boolean {
  return readProc(`/proc/${pid}/cmdline`).includes("pulumi-language-");
}

/** The file's text, or none where the process or thread has ended meanwhile. */
function readProc(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ESRCH") return "";
    throw error;
  }
}

function readEvents(log: string): EngineEvent[] {
  if (!existsSync(log)) return [];
  // The last line may be half written.
  const lines = readFileSync(log, "utf8").split("\n").slice(0, -1);
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as EngineEvent);
}

/** Steps of the engine on resources of a type, in order. */
export function stepsOf(outcome: { events: EngineEvent[] }, type: string): StepMetadata[] {
  return outcome.events.flatMap(({ resourcePreEvent }) =>
    resourcePreEvent?.metadata.type === type ? [resourcePreEvent.metadata] : [],
  );
}

/** Violations that policies reported, in order: `mandatory agent-socket local-agent`, with the message beside it. */
export function violationsOf({ events }: { events: EngineEvent[] }): { title: string; message: string }[] {
  return events.flatMap(({ policyEvent }) => {
    if (policyEvent === undefined) return [];
    const { enforcementLevel, policyName, resourceUrn, message } = policyEvent;
    return [{ title: `${enforcementLevel} ${policyName} ${resourceUrn.split("::").at(-1)}`, message }];
  });
}
