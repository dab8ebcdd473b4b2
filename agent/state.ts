import { createHash, randomBytes } from "node:crypto";
import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { backendSpec } from "../model/backend";
import { edgeSpec } from "../model/edge";
import { poolState } from "../model/pool-state";
import { writeFileAtomic } from "./files";

/** How many ended transactions are remembered, so that a client that lost an answer can ask how it ended. */
const REMEMBERED = 100;

const committed = z.strictObject({
  /** Random id of this agent; processes carry it in their environment. */
  agent: z.string().min(8),
  /** Key of the digests that stand for secret values. */
  digestKey: z.string().min(32),
  edges: z.record(z.string(), edgeSpec),
  /** By `edge/backend`. */
  backends: z.record(z.string(), backendSpec),
  pools: z.record(z.string(), poolState),
  /** By target: the URN of the resource that declares it, so that two resources can't share one thing. */
  owners: z.record(z.string(), z.string()).default({}),
  /** Committed transactions, newest last. */
  transactions: z.array(z.strictObject({ id: z.string(), target: z.string(), who: z.string(), at: z.iso.datetime() })),
});
/** What was committed: the desired state of everything on this host. */
export type Committed = z.output<typeof committed>;

const file = z.strictObject({ version: z.literal(1), checksum: z.string(), state: z.unknown() });

export type Loaded =
  | { kind: "new" | "loaded"; state: Committed; notes: string[] /** Whether both copies hold it. */; complete: boolean }
  /** Neither copy can be trusted: nothing may be changed until a person has decided. */
  | { kind: "unreadable"; notes: string[] };

/**
 * The committed state on disk, in two copies with checksums. A copy that is truncated or was edited is kept aside under
 * another name and reported, never dropped; where both are bad the agent changes nothing.
 */
export class StateFile {
  private readonly paths: [string, string];

  constructor(directory: string) {
    this.paths = [join(directory, "state.json"), join(directory, "state.copy.json")];
  }

  async load(): Promise<Loaded> {
    const notes: string[] = [];
    const found = [];
    for (const path of this.paths) {
      const result = await readCopy(path);
      if (result.kind === "bad") {
        const aside = `${path}.unreadable-${new Date().toISOString().replaceAll(":", "")}`;
        await rename(path, aside);
        notes.push(`${path} ${result.why}: kept aside as ${aside}`);
      }
      found.push(result);
    }
    const good = found.find((result) => result.kind === "good");
    if (good !== undefined) {
      const complete = found.every((copy) => copy.kind === "good" && checksum(copy.state) === checksum(good.state));
      return { kind: "loaded", state: good.state, notes, complete };
    }
    if (found.every(({ kind }) => kind === "absent") && notes.length === 0)
      return { kind: "new", state: emptyState(), notes, complete: false };
    return { kind: "unreadable", notes };
  }

  /**
   * Writes both copies; the first rename is the commit point. When this rejects, the state before it is still the one on disk.
   *
   * @returns what went wrong after the commit point, usually nothing; the next save makes it good
   */
  async save(state: Committed): Promise<string[]> {
    const text = `${JSON.stringify({ version: 1, checksum: checksum(state), state }, undefined, 2)}\n`;
    const [first, second] = this.paths;
    const notes: string[] = [];
    try {
      await writeFileAtomic(first, text, 0o600);
    } catch (error) {
      // Once it is renamed, the next agent finds it, whatever failed then.
      if ((await contentOf(first)) !== text) throw error;
      notes.push(`${first} may not survive a power cut: ${(error as Error).message}`);
    }
    try {
      await writeFileAtomic(second, text, 0o600);
    } catch (error) {
      notes.push(`${second}, the second copy of the state, could not be written: ${(error as Error).message}`);
    }
    return notes;
  }
}

async function contentOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch {
    // Not what was to be written, whatever it is.
    return undefined;
  }
}

function emptyState(): Committed {
  return {
    agent: randomBytes(12).toString("hex"),
    digestKey: randomBytes(32).toString("hex"),
    edges: {},
    backends: {},
    pools: {},
    owners: {},
    transactions: [],
  };
}

type Copy = { kind: "good"; state: Committed } | { kind: "absent" } | { kind: "bad"; why: string };

async function readCopy(path: string): Promise<Copy> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { kind: "absent" };
    throw error;
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { kind: "bad", why: "is truncated or not JSON" };
  }
  const outer = file.safeParse(json);
  if (!outer.success) return { kind: "bad", why: "is not a state file of this version" };
  if (outer.data.checksum !== checksum(outer.data.state))
    return { kind: "bad", why: "was edited by hand (its checksum differs)" };
  const inner = committed.safeParse(outer.data.state);
  if (!inner.success) return { kind: "bad", why: `does not fit this version (${z.prettifyError(inner.error)})` };
  return { kind: "good", state: inner.data };
}

function checksum(state: unknown): string {
  return createHash("sha256").update(JSON.stringify(state)).digest("hex");
}

/** The list of committed transactions with one more, within its bound. */
export function remember(
  list: Committed["transactions"],
  entry: Committed["transactions"][number],
): Committed["transactions"] {
  return [...list, entry].slice(-REMEMBERED);
}
