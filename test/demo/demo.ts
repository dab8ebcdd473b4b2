import assert from "node:assert/strict";
import { join } from "node:path";
import { AgentClient } from "../../src/agent/client/client";
import { commandOf } from "../../src/agent/processes/identity";
import type { LoadMix } from "../load/load";
import type { LoadReport } from "../load/report";
import { summarize } from "../load/report";
import { type SpawnedLoad, spawnLoad } from "../load/spawn";
import { isFree } from "../support/ports";
import { until } from "../support/until";
import { answersFrom } from "./checks";
import { type Command, type Outcome, type Running, start } from "./commands";
import { processesLeft } from "./leftovers";
import { type Project, ROOT } from "./project";
import { say } from "./screen";

const UP: Command = ["pulumi", "up", "--yes", "--skip-preview"];
/** Bounds the load should the demo die. */
const LOAD_SECONDS = 600;
/** For one answer: a busy machine is slow, and what is lost ends in an error. In seconds. */
const LOAD_PATIENCE = 60;

/** A step ends with the command that it was about; the last one has the load's totals. */
export type Done = Pick<Outcome, "command" | "exit"> & { load?: LoadReport };

/** State that the steps of a story share: the project, the hosts' agents, the load. */
export class Demo {
  readonly #agents = new Map<string, AgentClient>();
  #load: SpawnedLoad | undefined;
  #page: string | undefined;

  constructor(
    readonly project: Project,
    private readonly load: Partial<LoadMix>,
  ) {}

  /** The page with the evidence of the story's promotion, once it is written. */
  get page(): string | undefined {
    return this.#page;
  }

  agent(host: string): AgentClient {
    const known = this.#agents.get(host);
    const agent = known ?? new AgentClient(this.socket(host));
    this.#agents.set(host, agent);
    return agent;
  }

  private socket(host: string): string {
    return join(this.project.hosts, host, "agent.sock");
  }

  /** Runs a command, and fails unless it ends as expected. */
  async run(command: Command, expected: "works" | "fails" = "works", shown?: string): Promise<Outcome> {
    const outcome = await start(this.project, command, shown).finished;
    if ((outcome.exit === 0) === (expected === "works")) return outcome;
    throw new Error(`"${outcome.command}" ended with ${outcome.exit}, but this step expects that it ${expected}`);
  }

  /** Starts a command that goes on; the end of the demo is its end, too. */
  start(command: Command): Running {
    return start(this.project, command);
  }

  up(expected: "works" | "fails" = "works"): Promise<Outcome> {
    return this.run(UP, expected);
  }

  startUp(): Running {
    return this.start(UP);
  }

  async set(key: string, value: string): Promise<void> {
    await this.run(["pulumi", "config", "set", key, value]);
  }

  preview(): Promise<Outcome> {
    return this.run(["pulumi", "preview", "--diff"]);
  }

  /** Fails unless every answer through the edge comes from this release. */
  serves(release: string): Promise<void> {
    return answersFrom(this.project.port, release);
  }

  async startLoad(what: string): Promise<void> {
    const url = `http://127.0.0.1:${this.project.port}`;
    this.#load = await spawnLoad({ url, mix: this.load, seconds: LOAD_SECONDS, patience: LOAD_PATIENCE });
    say(`✓ a load runs from now on: ${what}`);
  }

  /** The change of a target that was the last one to be committed. */
  async lastChange(host: string, target: string): Promise<string> {
    const all = await this.agent(host).evidence(20);
    const found = all.find((each) => each.target === target && each.verdict === "committed");
    if (found === undefined) throw new Error(`${host} should have the evidence of a change of ${target}`);
    return found.id;
  }

  /** Writes the page with the evidence of a change, once that is complete. */
  async showEvidence(host: string, id: string): Promise<void> {
    await until("the evidence of the promotion to be complete", async () => {
      return (await this.agent(host).evidenceOf(id))?.record.after !== undefined;
    });
    const { page } = this.project;
    const given = ["evidence", id.slice(0, 8), "--socket", this.socket(host), "--html", page];
    await this.run(
      [process.execPath, join(ROOT, "src", "cli", "sluice"), ...given],
      "works",
      `sluice ${given.join(" ")}`,
    );
    this.#page = page;
  }

  /**
   * The last step: lets everything in flight finish, destroys the stack, and fails where anything is left of it.
   *
   * @param others ends what the story runs beside its stack
   */
  async destroy(others: () => Promise<void> = async () => undefined): Promise<Done & { load: LoadReport }> {
    if (this.#load === undefined) throw new Error("there is no load to stop: an earlier step starts it");
    const load = await this.#load.stop();
    say(`the load ends: ${summarize(load)}`);
    const done = await this.run(["pulumi", "destroy", "--yes", "--skip-preview"]);
    await others();
    await until("no process to be left", async () => {
      const left = await processesLeft(this.project);
      const commands = await Promise.all(left.map(async ({ pid }) => `${pid} ${await commandOf(pid)}`));
      if (commands.length > 0) throw new Error(`there are ${commands.join("; ")}`);
      return true;
    });
    say("✓ no process is left");
    const { port } = this.project;
    assert.ok(await isFree(port), `nothing should listen on port ${port}`);
    say(`✓ nothing listens on port ${port}`);
    return { ...done, load };
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.close();
  }
}
