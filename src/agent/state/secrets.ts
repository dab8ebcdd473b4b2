import { createHmac } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { PoolSpec } from "../../model/pool/pool";
import { generationsOf, type PoolState, type SpecWithoutSecrets } from "../../model/pool/pool-state";
import type { ProcessTemplate } from "../../model/process/process-template";
import { codeOf } from "../../model/types/errors";
import { ifThere, makeFolder, writeFileAtomic } from "../support/files";

/** Secret values by process and variable. */
export type SecretValues = Record<string, Record<string, string>>;
const secretValues = z.record(z.string(), z.record(z.string(), z.string()));

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

  /** A file that can't be read is reported; the processes that need it do not start, and the others do. */
  static async openIn(stateDirectory: string, key: string): Promise<{ secrets: Secrets; notes: string[] }> {
    const directory = join(stateDirectory, "secrets");
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const values = new Map<string, SecretValues>();
    const notes: string[] = [];
    for (const file of await readdir(directory)) {
      if (!file.endsWith(".json")) continue;
      const path = join(directory, file);
      try {
        values.set(file.slice(0, -".json".length), secretValues.parse(JSON.parse(await readFile(path, "utf8"))));
      } catch (error) {
        // Not with the error's own words, which may quote a value.
        notes.push(`${path} can't be read (${codeOf(error) ?? "not the values of secrets"})`);
      }
    }
    return { secrets: new Secrets(directory, key, values), notes };
  }

  /** Takes the secret values out of a spec, leaving keyed digests, so that a changed secret is a changed release. */
  split<T extends Pick<PoolSpec, "processes">>(
    spec: T,
    names: Record<string, string[]>,
  ): { spec: Omit<T, "processes"> & Pick<SpecWithoutSecrets, "processes">; values: SecretValues } {
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

  /** All values, for those who keep them out of what they write. */
  known(): string[] {
    return [...this.values.values()].flatMap((processes) => Object.values(processes).flatMap(Object.values<string>));
  }

  async store(pool: string, generation: number, values: SecretValues): Promise<void> {
    if (Object.keys(values).length === 0) return;
    this.beginning.add(pool);
    await writeFileAtomic(join(this.directory, `${pool}.${generation}.json`), JSON.stringify(values), 0o600);
    this.values.set(`${pool}.${generation}`, values);
  }

  /** Writes files again that were deleted. @returns what was done, in one sentence each */
  async restoreFiles(): Promise<string[]> {
    const restored: string[] = [];
    for (const [key, values] of this.values) {
      const path = join(this.directory, `${key}.json`);
      if ((await ifThere(stat(path))) !== undefined || this.values.get(key) !== values) continue;
      await makeFolder(this.directory);
      await writeFileAtomic(path, JSON.stringify(values), 0o600);
      restored.push(`${path} was deleted, and is written again`);
    }
    return restored;
  }

  /**
   * The secret part of a process's environment.
   *
   * @param digests what was committed: names, each with the digest of its value
   * @throws where values are missing or are not those: a process must not start without its secrets
   */
  of(pool: string, generation: number, process: string, digests: Record<string, string>): Record<string, string> {
    const names = Object.keys(digests);
    if (names.length === 0) return {};
    const values = this.values.get(`${pool}.${generation}`)?.[process] ?? {};
    const wrong = names.filter((name) => values[name] === undefined || this.digest(values[name]) !== digests[name]);
    if (wrong.length === 0) return values;
    throw new Error(
      `the secret ${wrong.join(", ")} of process ${process} is not, or not as it was committed, in ${join(this.directory, `${pool}.${generation}.json`)}: put the file back, or run the pool's update again`,
    );
  }

  /** All values of a pool, to leave them out of what is shown. */
  valuesOf(pool: string): string[] {
    return [...this.values].flatMap(([key, values]) =>
      key.split(".")[0] === pool ? Object.values(values).flatMap((each) => Object.values(each)) : [],
    );
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
      Object.entries(pools).flatMap(([pool, state]) =>
        [
          ...generationsOf(state).map(({ number }) => number),
          ...Object.values(state.services).map(({ generation }) => generation),
        ].map((number) => `${pool}.${number}`),
      ),
    );
    for (const key of known) {
      if (kept.has(key)) continue;
      await rm(join(this.directory, `${key}.json`), { force: true });
      this.values.delete(key);
    }
  }
}
