import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import type { EvidenceRetentionInput } from "../src/model/evidence/retention";
import { Agent } from "../src/provider/classes/agent";
import type { AgentRef } from "../src/provider/resources/agent-ref";

export interface LocalHostArgs {
  /** State folder of the agent, absolute. @default `.sluice/hosts/<name>` in the project. Change: refused while it serves. */
  directory?: pulumi.Input<string> | undefined;
  /** Unix socket of the agent. @default `agent.sock` in the state folder. Change: the agent restarts, apps do not. */
  socket?: pulumi.Input<string> | undefined;
  /** Mode of the socket: who may connect may change traffic. @default "0600". Change: the agent restarts, apps do not. */
  mode?: pulumi.Input<string> | undefined;
  /** User that owns the socket. @default the user who runs the update. Change: the agent restarts, apps do not. */
  owner?: pulumi.Input<string> | undefined;
  /** Group of the socket. @default the group of that user. Change: the agent restarts, apps do not. */
  group?: pulumi.Input<string> | undefined;
  /** File to which its events go as JSON lines; SIGHUP reopens it, for logrotate. @default none. Change: the agent restarts, apps do not. */
  log?: pulumi.Input<string> | undefined;
  /** How much evidence of changes is kept. @default 300 changes, 400 days, "200 MiB". Change: live. */
  evidence?: pulumi.Input<EvidenceRetentionInput> | undefined;
}

/** The host that runs `pulumi`, with a Sluice agent on it. */
export class LocalHost extends pulumi.ComponentResource {
  /** How edges and pools reach the host's agent. */
  readonly agent: pulumi.Output<AgentRef>;

  constructor(name: string, args: LocalHostArgs = {}, options?: pulumi.ComponentResourceOptions) {
    super("sluice:components:LocalHost", name, {}, options);
    const directory = args.directory ?? join(projectFolder(process.cwd()), ".sluice", "hosts", name);
    const agent = new Agent(`${name}-agent`, { ...args, directory }, { parent: this });
    this.agent = agent.connection;
    this.registerOutputs({ agent: this.agent });
  }
}

/** The folder with `Pulumi.yaml`, at or above a folder: programs run in the folder of their `main`. */
function projectFolder(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, "Pulumi.yaml"))) return folder;
    if (folder === dirname(folder))
      throw new Error(`there is no Pulumi.yaml at or above ${start}: give the host a directory`);
  }
}
