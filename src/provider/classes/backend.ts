import * as pulumi from "@pulumi/pulumi";
import type { BackendInput } from "../../model/edge/backend";
import type { BackendDeclarations } from "../../model/policy/declared";
import type { AgentRef } from "../resources/agent-ref";
import type { DeepInput } from "./input";

/** A backend of an edge. See {@link BackendInput} and {@link BackendDeclarations} for units, ranges and defaults. */
export type BackendArgs = { [Property in keyof BackendInput]: DeepInput<BackendInput[Property]> } & {
  [Property in keyof BackendDeclarations]: DeepInput<BackendDeclarations[Property]>;
} & {
  /** The agent of its edge. Change of its folder: refused while it serves. */
  agent: pulumi.Input<AgentRef>;
  /** Name of its edge. Change: refused while it serves. */
  edge: pulumi.Input<string>;
  /** Name on its edge. Change: refused while it serves. */
  name: pulumi.Input<string>;
};

/** A HAProxy backend with servers that something else runs. */
export class Backend extends pulumi.CustomResource {
  declare readonly name: pulumi.Output<string>;

  constructor(name: string, args: BackendArgs, options?: pulumi.CustomResourceOptions) {
    super("sluice:index:Backend", name, { ...args }, options);
  }
}
