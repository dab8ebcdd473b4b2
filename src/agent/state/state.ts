import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { backendSpec } from "../../model/edge/backend";
import { edgeSpec } from "../../model/edge/edge";
import { poolState } from "../../model/pool/pool-state";
import { takeover } from "../../model/process/takeover";
import { ownership } from "../../model/protocol/ownership";
import { routeSpec } from "../../model/route/route";
import { readIfThere, whileUnchanged, writeFileAtomic } from "../support/files";
import { fromVersion1 } from "./state-migration";

/** How many ended transactions are remembered, so that a client that lost an answer can ask how it ended. */
const REMEMBERED = 100;

/** As versions before tokens recorded an owner. */
const urnAlone = z.string().transform((urn) => ({ urn }));

const committed = z.strictObject({
  /** Random id of this agent; processes carry it in their environment. */
  agent: z.string().min(8),
  /** Number of saves before this one: of two good copies, the later one counts. */
  sequence: z.int().default(0),
  /** Key of the digests that stand for secret values. */
  digestKey: z.string().min(32),
  edges: z.record(z.string(), edgeSpec),
  /** By `edge/backend`. */
  backends: z.record(z.string(), backendSpec),
  pools: z.record(z.string(), poolState),
  routes: z.record(z.string(), routeSpec).default({}),
  /** By route: since when it has been as it is, which soaks are judged by. */
  routesSince: z.record(z.string(), z.iso.datetime()).default({}),
  /** By route: its stable backend before the present one. Going back to it is a rollback. */
  stablesBefore: z.record(z.string(), z.string()).default({}),
  /** By target: the resource that declares it. */
  owners: z.record(z.string(), z.union([ownership, urnAlone])).default({}),
  /** By token: the resource that declares this agent; a stack each, as a rule. */
  declarers: z.record(z.string(), z.string()).default({}),
  /** By target: the existing processes that it has taken over. */
  takenOver: z.record(z.string(), takeover).default({}),
  /** Committed transactions, newest last. */
  transactions: z.array(z.strictObject({ id: z.string(), target: z.string(), who: z.string(), at: z.iso.datetime() })),
});
/** The committed state: the desired state of everything on this host. */
export type Committed = z.output<typeof committed>;

/** Of the file's format. */
const VERSION = 2;
const versioned = z.looseObject({ version: z.int() });
const file = z.strictObject({ version: z.literal([1, VERSION]), checksum: z.string(), state: z.unknown() });

export type Loaded =
  | { kind: "new" | "loaded"; state: Committed; notes: string[] /** Whether both copies hold it. */; complete: boolean }
  /** Neither copy can be trusted: nothing may be changed until a person has decided. */
  | { kind: "unreadable"; notes: string[] };

/**
 * The committed state on disk, in two copies with checksums. A copy that is truncated or was edited is kept aside under
 * another name and reported, never dropped; where both are bad they stay, and the agent changes nothing.
 */
export class StateFile {
  private readonly paths: [string, string];
  private saving: Promise<unknown> = Promise.resolve();
  /** Checksum of the state saved or loaded last. */
  private last: string | undefined;
  private readonly copies: { path: string; verdict: () => Promise<CopyVerdict> }[];
  private sequence = 0;

  constructor(private readonly directory: string) {
    this.paths = [join(directory, "state.json"), join(directory, "state.copy.json")];
    this.copies = this.paths.map((path) => ({
      path,
      verdict: whileUnchanged(path, async () => verdictOn(await readCopy(path))),
    }));
  }

  async load(): Promise<Loaded> {
    const found = await Promise.all(this.paths.map(async (path) => ({ path, ...(await readCopy(path)) })));
    const bad = found.flatMap((copy) => (copy.kind === "bad" ? [copy] : []));
    const [first, second] = found.flatMap((copy) => (copy.kind === "good" ? [copy] : []));
    if (first !== undefined) {
      const older = second !== undefined && first.state.sequence < second.state.sequence;
      const good = older ? second : first;
      this.last = good.checksum;
      this.sequence = good.state.sequence;
      const complete = found.every((copy) => copy.kind === "good" && checksum(copy.state) === checksum(good.state));
      const notes = await Promise.all(bad.map(keepAside));
      // The other way round is how a crash between the two writes leaves them.
      if (older)
        notes.push(
          `${first.path} holds an older state (save ${first.state.sequence}) than ${good.path} (save ${good.state.sequence}): the newer one is taken, and both are written again; to go back, put the older one in both places`,
        );
      return { kind: "loaded", state: good.state, notes, complete };
    }
    // Both stay where they are: an agent that found none would take itself for a new one, and end what runs.
    if (bad.length > 0) return { kind: "unreadable", notes: bad.map(({ path, why }) => `${path} ${why}`) };
    if (await hasRun(this.directory))
      return {
        kind: "unreadable",
        notes: [`${this.paths.join(" and ")} are gone, although an agent has worked in this folder`],
      };
    return { kind: "new", state: emptyState(), notes: [], complete: false };
  }

  /**
   * Writes both copies; the first rename is the commit point. When this rejects, the state before it is still the one on disk.
   *
   * @returns what went wrong after the commit point, usually nothing; the next save makes it good
   */
  save(state: Committed): Promise<string[]> {
    const saved = this.saveNow(state);
    this.saving = saved.catch(() => undefined);
    return saved;
  }

  private async saveNow(given: Committed): Promise<string[]> {
    const state = { ...given, sequence: this.sequence + 1 };
    const digest = checksum(state);
    const text = `${JSON.stringify({ version: VERSION, checksum: digest, state }, undefined, 2)}\n`;
    const [first, second] = this.paths;
    const notes: string[] = [];
    try {
      await writeFileAtomic(first, text, 0o600);
    } catch (error) {
      // Once it is renamed, the next agent finds it, whatever failed then.
      if ((await contentOf(first)) !== text) throw error;
      notes.push(`${first} may not survive a power cut: ${(error as Error).message}`);
    }
    this.last = digest;
    this.sequence = state.sequence;
    try {
      await writeFileAtomic(second, text, 0o600);
    } catch (error) {
      notes.push(`${second}, the second copy of the state, could not be written: ${(error as Error).message}`);
    }
    return notes;
  }

  /** How the copies on disk differ from what was saved or loaded last; nothing where both hold it. */
  async differences(): Promise<string[]> {
    await this.saving;
    const found = await Promise.all(
      this.copies.map(async ({ path, verdict }) => {
        const { checksum: digest, why } = await verdict();
        if (why !== undefined) return [`${path} ${why}: ${NEXT_COMMIT}`];
        return digest === this.last ? [] : [`${path} holds another state than the agent's: ${NEXT_COMMIT}`];
      }),
    );
    return found.flat();
  }
}

/** Until then a restart of the agent depends on what is there. */
const NEXT_COMMIT = "the next commit writes it again; see who changes files in the state folder";

/** Makes room for a good copy, without losing the bad one. */
async function keepAside({ path, why }: { path: string; why: string }): Promise<string> {
  const aside = `${path}.unreadable-${new Date().toISOString().replaceAll(":", "")}`;
  await rename(path, aside);
  return `${path} ${why}: kept aside as ${aside}`;
}

/** Whether an agent has come so far in a folder that it saved its state. */
async function hasRun(directory: string): Promise<boolean> {
  return (await readdir(directory)).includes("journal.ndjson");
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
    sequence: 0,
    digestKey: randomBytes(32).toString("hex"),
    edges: {},
    backends: {},
    pools: {},
    routes: {},
    routesSince: {},
    stablesBefore: {},
    owners: {},
    declarers: {},
    takenOver: {},
    transactions: [],
  };
}

type Copy = { kind: "good"; state: Committed; checksum: string } | { kind: "absent" } | { kind: "bad"; why: string };

/** A copy's checksum, or why it can't be trusted. */
type CopyVerdict = { checksum: string; why?: undefined } | { checksum?: undefined; why: string };

function verdictOn(copy: Copy): CopyVerdict {
  if (copy.kind === "good") return { checksum: copy.checksum };
  return { why: copy.kind === "absent" ? "is gone" : copy.why };
}

async function readCopy(path: string): Promise<Copy> {
  const text = await readIfThere(path);
  if (text === undefined) return { kind: "absent" };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { kind: "bad", why: "is truncated or not JSON" };
  }
  const version = versioned.safeParse(json).data?.version;
  if (version !== undefined && version > VERSION)
    return { kind: "bad", why: `has version ${version}, which a newer agent wrote (this one knows ${VERSION})` };
  const outer = file.safeParse(json);
  if (!outer.success) return { kind: "bad", why: "is not a state file of this version" };
  if (outer.data.checksum !== checksum(outer.data.state))
    return { kind: "bad", why: "was edited by hand (its checksum differs)" };
  const inner = committed.safeParse(outer.data.version === 1 ? fromVersion1(outer.data.state) : outer.data.state);
  if (!inner.success) return { kind: "bad", why: `does not fit this version (${z.prettifyError(inner.error)})` };
  return { kind: "good", state: inner.data, checksum: outer.data.checksum };
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
