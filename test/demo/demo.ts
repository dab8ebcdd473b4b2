import { AgentClient } from "../../agent/client/client";
import { type SpawnedLoad, spawnLoad } from "../load/spawn";
import { serves } from "./checks";
import { type Outcome, type Running, start } from "./commands";
import { createProject, type Project } from "./project";

/** Small enough for a laptop, and enough that anything dropped would show. */
const LOAD = { rate: 60, connections: 6, slow: 3, websockets: 6, streams: 3 };
/** Bounds the load should the demo die. */
const LOAD_SECONDS = 180;

/** What the steps share: the project, the host's agent, the load. */
export class Demo {
  readonly agent: AgentClient;
  #load: SpawnedLoad | undefined;

  private constructor(readonly project: Project) {
    this.agent = new AgentClient(`${project.host}/agent.sock`);
  }

  static async create(): Promise<Demo> {
    return new Demo(await createProject());
  }

  /** Runs a command, and fails unless it ends as expected. */
  async run(command: [string, ...string[]], expected: "works" | "fails" = "works", shown?: string): Promise<Outcome> {
    const outcome = await start(this.project, command, shown).finished;
    if ((outcome.exit === 0) === (expected === "works")) return outcome;
    throw new Error(`"${outcome.command}" ended with ${outcome.exit}, but this step expects that it ${expected}`);
  }

  start(command: [string, ...string[]]): Running {
    return start(this.project, command);
  }

  /** Fails unless this release, and it alone, serves. */
  serves(release: string): Promise<void> {
    return serves(this.project.port, this.agent, release);
  }

  async startLoad(): Promise<void> {
    this.#load = await spawnLoad({ url: `http://127.0.0.1:${this.project.port}`, mix: LOAD, seconds: LOAD_SECONDS });
  }

  /** Lets everything in flight finish, and gives the totals. */
  async stopLoad() {
    if (this.#load === undefined) throw new Error("there is no load to stop: step 1 starts it");
    return this.#load.stop();
  }
}
