import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { takeoverEntry } from "../../model/process/takeover";
import { ifThere, makeFolder, readIfThere, syncFolder, writeFileAtomic } from "../support/files";
import { launchRecord } from "./launch-record";

const socket = z.strictObject({ address: z.string(), port: z.int(), inode: z.string(), uid: z.int() });

/** One process, or unit, that is asked to end, and how it is given back. */
const stoppedProcess = z.strictObject({
  entry: takeoverEntry,
  bootId: z.string(),
  /** In clock ticks since the host's boot, just before it was asked to end. */
  askedAt: z.int(),
  /** Everything that was found; those that `follows` end with another one. */
  processes: z.array(
    z.strictObject({
      pid: z.int(),
      startTime: z.string(),
      argv: z.array(z.string()),
      since: z.string(),
      uid: z.int(),
      follows: z.boolean(),
      parent: z.int(),
      unit: z.string().optional(),
      listens: z.array(socket),
      /** Absent for a process that ends and starts with another one, or by its unit. */
      recipe: launchRecord.optional(),
    }),
  ),
});
export type StoppedProcess = z.output<typeof stoppedProcess>;

const file = z.strictObject({ version: z.literal(1), target: z.string(), debts: z.array(stoppedProcess) });

/**
 * Existing processes that uncommitted changes have stopped, or are about to stop: durable before the first signal. The
 * files hold environments, and so are private; they go with the commit.
 */
export class StoppedProcessStore {
  private readonly directory: string;

  constructor(directory: string) {
    this.directory = join(directory, "takeovers");
  }

  /** Targets with stopped processes, such as `edge/main`. */
  async targets(): Promise<string[]> {
    const names = await ifThere(readdir(this.directory));
    return (names ?? []).flatMap((name) => {
      const [kind, rest = ""] = name.split(".");
      return name.endsWith(".json") && (kind === "edge" || kind === "pool") ? [`${kind}/${rest}`] : [];
    });
  }

  async read(target: string): Promise<StoppedProcess[]> {
    const path = this.pathOf(target);
    const text = await readIfThere(path);
    if (text === undefined) return [];
    try {
      return file.parse(JSON.parse(text)).debts;
    } catch (error) {
      const aside = `${path}.unreadable-${Date.now()}`;
      await rename(path, aside);
      throw new Error(
        `what ${target} took over can't be read, and is kept aside as ${aside}: start it again yourself (${(error as Error).message})`,
        { cause: error },
      );
    }
  }

  /** Durable when it resolves. */
  async write(target: string, debts: readonly StoppedProcess[]): Promise<void> {
    const path = this.pathOf(target);
    if (debts.length > 0) {
      await makeFolder(this.directory);
      await writeFileAtomic(path, `${JSON.stringify({ version: 1, target, debts }, undefined, 2)}\n`, 0o600);
      return;
    }
    await rm(path, { force: true });
    await ifThere(syncFolder(this.directory));
  }

  private pathOf(target: string): string {
    return join(this.directory, `${target.replace("/", ".")}.json`);
  }
}
