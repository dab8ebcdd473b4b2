import * as pulumi from "@pulumi/pulumi";
import type { PoolDeclarations } from "../../model/policy/declared";
import type { InPlaceWatchInput } from "../../model/pool/in-place";
import type { PoolInput } from "../../model/pool/pool";
import type { PoolCanaryInput } from "../../model/pool/pool-share";
import type { PoolLive } from "../../model/protocol/live";
import type { AgentRef } from "../resources/agent-ref";
import type { ServesInput } from "../resources/pool-inputs";
import type { DeepInput } from "./input";

/** A candidate, whose `path` is left out where its `artifact` brings it. */
type CanaryInput = Omit<PoolCanaryInput, "release"> & {
  release: Omit<PoolCanaryInput["release"], "path"> & { path?: string | undefined };
};

/** A pool on an agent. See {@link PoolInput} and {@link PoolDeclarations} for units, ranges and defaults. */
export type PoolArgs = {
  [Property in keyof Omit<PoolInput, "release">]: DeepInput<PoolInput[Property]>;
} & {
  [Property in keyof PoolDeclarations]: DeepInput<PoolDeclarations[Property]>;
} & {
  /** The release to run. Its `path`, a folder on the host, is left out where `artifact` brings it. */
  release: DeepInput<Omit<PoolInput["release"], "path"> & { path?: string | undefined }>;
  /**
   * A folder or .tar.gz of whoever runs the update, absolute, which is sent to the host under its digest and placed there as
   * a whole. Change of its content: a promotion. @default none: the release is on the host already
   */
  artifact?: pulumi.Input<string> | undefined;
  /** The agent that runs its processes. Change of its folder: refused while it serves. */
  agent: pulumi.Input<AgentRef>;
  /** Name on its agent, and of its backend on an edge of its own. Change: refused. */
  name: pulumi.Input<string>;
  /** In place only: the edges that lead to this pool, and the backend and server by which they know it. */
  serves?: DeepInput<ServesInput> | undefined;
  /** Side by side only: a release to try with a share of this pool's requests, and the stages in which it grows. @default none */
  canary?: DeepInput<CanaryInput> | undefined;
  /** In place only: what must hold before, and through a window after the new release got its traffic. @default nothing */
  watch?: DeepInput<InPlaceWatchInput> | undefined;
};

/** The processes of a release on a host, and the backend that they serve. */
export class Pool extends pulumi.CustomResource {
  declare readonly name: pulumi.Output<string>;
  /** Reality as it was last observed. */
  declare readonly live: pulumi.Output<PoolLive>;

  constructor(name: string, args: PoolArgs, options?: pulumi.CustomResourceOptions) {
    super("sluice:index:Pool", name, { ...args, live: undefined }, options);
  }
}
