import * as pulumi from "@pulumi/pulumi";
import type { EvidenceRetentionInput } from "../../model/evidence/retention";
import type { AgentRef } from "../resources/agent-ref";

export interface AgentArgs {
  /** State folder on this host, absolute. Change: refused while it serves. */
  directory: pulumi.Input<string>;
  /** Unix socket. @default `agent.sock` in the state folder. Change: the agent restarts, apps do not. */
  socket?: pulumi.Input<string> | undefined;
  /** Mode of the socket, octal digits. @default "0600". Change: the agent restarts, apps do not. */
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

/** The Sluice daemon on this host. It is replaced by a newer version without touching the processes that it runs. */
export class Agent extends pulumi.CustomResource {
  /** How other resources reach this agent. */
  declare readonly connection: pulumi.Output<AgentRef>;
  /** Version that runs. */
  declare readonly version: pulumi.Output<string>;

  constructor(name: string, args: AgentArgs, options?: pulumi.CustomResourceOptions) {
    super("sluice:index:Agent", name, { ...args, connection: undefined, version: undefined }, options);
  }
}
