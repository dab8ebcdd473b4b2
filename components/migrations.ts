import * as pulumi from "@pulumi/pulumi";
import type { DatabaseConnection } from "../src/model/policy/migration-set";
import {
  Migrations as MigrationsResource,
  type MigrationsArgs as MigrationsResourceArgs,
} from "../src/provider/classes/migrations";
import type { LocalHost } from "./local-host";

export interface MigrationsArgs extends Omit<MigrationsResourceArgs, "name" | "pools"> {
  /** Name of the database, which another component name with an alias keeps. @default the component's name. Change: refused. */
  name?: string | undefined;
  /** Pools whose releases use the database, by name, each with its host. They may be made after the migrations. @default none */
  pools?: { host: LocalHost; pool: string }[] | undefined;
}

/**
 * The migrations of a database. What is pending is applied once, before the pools that take `connection` as their
 * `migrations`; when that fails, none of them is touched.
 */
export class Migrations extends pulumi.ComponentResource {
  /** For the `migrations` of the pools whose releases need it. */
  readonly connection: pulumi.Output<DatabaseConnection>;

  constructor(name: string, args: MigrationsArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:components:Migrations", name, {}, options);
    const { name: databaseName = name, pools = [], ...spec } = args;
    const migrations = new MigrationsResource(
      `${name}-migrations`,
      { ...spec, name: databaseName, pools: pools.map(({ host, pool }) => ({ agent: host.agent, pool })) },
      { parent: this },
    );
    this.connection = migrations.connection;
    this.registerOutputs({ connection: this.connection });
  }
}
