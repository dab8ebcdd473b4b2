import { createHmac } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { PoolSpec, ProcessTemplate } from "../model/pool";
import type { PoolState, SplitSpec } from "../model/pool-state";
import { writeFileAtomic } from "./files";

/** Secret values by process and variable. */
export type SecretValues = Record<string, Record<string, string>>;

/**
 * Values of secret environment variables, one file per pool and generation, readable by the agent's user alone. They must
 * survive a reboot, so they are on disk; everything else (state, journal, events, process records) has digests only.
 */
export class Secrets {
  /** Pools with a promotion that has stored values. */
  private readonly beginning = new Set<string>();

  private constructor(
    private readonly directory: string,
    private readonly key: string,
    private readonly values: Map<string, SecretValues>,
  ) {}

  static async openIn(stateDirectory: string, key: string): Promise<Secrets> {
    const directory = join(stateDirectory, "secrets");
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const values = new Map<string, SecretValues>();
    for (const file of await readdir(directory)) {
      if (!file.endsWith(".json")) continue;
      values.set(
        file.slice(0, -".json".length),
        JSON.parse(await readFile(join(directory, file), "utf8")) as SecretValues,
      );
    }
    return new Secrets(directory, key, values);
  }

  /** Takes the secret values out of a spec, leaving keyed digests, so that a changed secret is a changed release. */
  split(spec: PoolSpec, names: Record<string, string[]>): { spec: SplitSpec; values: SecretValues } {
    const values: SecretValues = {};
    const processes = Object.entries(spec.processes).map(([id, template]) => {
      const { plain, secret } = this.splitEnvironment(template, names[id] ?? []);
      if (Object.keys(secret).length > 0) values[id] = secret;
      const digests = Object.entries(secret).map(([name, value]) => [name, this.digest(value)]);
      return [id, { ...template, env: plain, secretEnv: Object.fromEntries(digests) }];
    });
    return { spec: { ...spec, processes: Object.fromEntries(processes) }, values };
  }

  private splitEnvironment({ env }: ProcessTemplate, names: string[]) {
    const entries = Object.entries(env);
    return {
      plain: Object.fromEntries(entries.filter(([name]) => !names.includes(name))),
      secret: Object.fromEntries(entries.filter(([name]) => names.includes(name))),
    };
  }

  private digest(value: string): string {
    return createHmac("sha256", this.key).update(value).digest("hex").slice(0, 32);
  }

  async store(pool: string, generation: number, values: SecretValues): Promise<void> {
    if (Object.keys(values).length === 0) return;
    this.beginning.add(pool);
    await writeFileAtomic(join(this.directory, `${pool}.${generation}.json`), JSON.stringify(values), 0o600);
    this.values.set(`${pool}.${generation}`, values);
  }

  of(pool: string, generation: number, process: string): Record<string, string> {
    return this.values.get(`${pool}.${generation}`)?.[process] ?? {};
  }

  /**
   * Forgets the values of generations that no pool names any more. A pool whose promotion has stored some is left alone until
   * that has ended: it does not name them from the first moment.
   *
   * @param ended pool whose promotion has ended
   */
  async prune(pools: Record<string, PoolState>, ended?: string): Promise<void> {
    if (ended !== undefined) this.beginning.delete(ended);
    const known = [...this.values.keys()].filter((key) => !this.beginning.has(key.split(".")[0] ?? ""));
    const kept = new Set(
      Object.entries(pools).flatMap(([pool, { current, candidate, services }]) =>
        [current?.number, candidate?.number, ...Object.values(services).map(({ generation }) => generation)].map(
          (number) => `${pool}.${number}`,
        ),
      ),
    );
    for (const key of known) {
      if (kept.has(key)) continue;
      await rm(join(this.directory, `${key}.json`), { force: true });
      this.values.delete(key);
    }
  }
}
