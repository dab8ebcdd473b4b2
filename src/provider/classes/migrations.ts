import * as pulumi from "@pulumi/pulumi";
import type { DatabaseConnection, MigrationsInput } from "../../model/policy/migration-set";
import type { AgentRef } from "../resources/agent-ref";
import type { DeepInput } from "./input";

/** The migrations of a database. See {@link MigrationsInput} for units, ranges and defaults. */
export type MigrationsArgs = { [Property in keyof MigrationsInput]: DeepInput<MigrationsInput[Property]> } & {
  /** Name of the database. Change: refused. */
  name: pulumi.Input<string>;
  /** Pools whose releases use the database, each with the agent of its host: the releases that run and are kept there are asked of it. @default none */
  pools?: pulumi.Input<pulumi.Input<{ agent: pulumi.Input<AgentRef>; pool: pulumi.Input<string> }>[] | undefined>;
};

/** The migrations of a database: pending ones are applied once, before the releases that depend on them. */
export class Migrations extends pulumi.CustomResource {
  declare readonly name: pulumi.Output<string>;
  /** Names of the migrations that an update applies. */
  declare readonly pending: pulumi.Output<string[]>;
  /** Connection for pools, so that their releases come after the migrations. */
  declare readonly connection: pulumi.Output<DatabaseConnection>;

  constructor(name: string, args: MigrationsArgs, options?: pulumi.CustomResourceOptions) {
    super("sluice:index:Migrations", name, { ...args, pending: undefined, connection: undefined }, options);
  }
}
