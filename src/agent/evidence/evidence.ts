import { setTimeout as sleep } from "node:timers/promises";
import type { Note } from "../../model/evidence/note";
import {
  type Ending,
  type EvidenceRecord,
  type EvidenceSummary,
  type Mark,
  newRecord,
  summaryOf,
} from "../../model/evidence/record";
import { type Entry, reduce } from "../../model/evidence/reduce";
import { type EvidenceRetention, evidenceRetention, outdated } from "../../model/evidence/retention";
import type { Owner, Target } from "../../model/protocol/transaction";
import type { MirrorFigures } from "../../model/route/mirror";
import { messageOf } from "../../model/types/errors";
import { withTimeout } from "../../support/waiting";
import type { EvidenceList } from "../api/answers";
import type { Events } from "../events/events";
import type { Host } from "../host/host";
import type { Desired } from "../state/desired";
import { shownTexts } from "../support/mask";
import { singleFlight } from "../support/single-flight";
import { describeChange } from "./change";
import { EvidenceFolders } from "./folder";
import { type Counted, measureSides } from "./measure";
import { type Left, leftBehind } from "./recovery";
import { takeSnapshot } from "./snapshot";

/** Longest time that a transaction's first step waits for the snapshot before it, in milliseconds. */
const SNAPSHOT_WAIT_MS = 250;
/** Time after the end at which the meter has counted what belongs to it, and a little of the time after, in milliseconds. */
const SETTLE_MS = 6000;
/** Size at which a log is written anew as the record that it makes, in bytes. */
const COMPACT_AT = 4 * 1024 * 1024;
/** Pause between two searches for old records, in milliseconds. */
const PRUNE_MS = 3_600_000;
/** Records that are kept in memory, since they could not be written. */
const MAX_UNWRITTEN = 20;

export interface EvidenceParts {
  /** Folder of all evidence. */
  directory: string;
  host: Host;
  events: Events;
  meter: Counted;
  /** Values that must not get into it. */
  secrets: () => string[];
  agent: EvidenceRecord["agent"];
  /** Counters of the copies of each route's requests. */
  copies: () => Promise<Record<string, MirrorFigures>>;
  /** Limits of the evidence that is kept. @default as its schema says */
  retention?: EvidenceRetention | undefined;
}

/** A transaction whose evidence is not complete yet. */
interface Open {
  record: EvidenceRecord;
  /** Of its folder. */
  name: string;
  /** The desired state before it. */
  before: Desired;
  /** Server that it takes out of the traffic and gives back. */
  changedServer?: string | undefined;
  snapshotTaken: Promise<void>;
  /** Whether a step has waited for the snapshot, as only the first one does. */
  waitedFor: boolean;
  /** Lines that the log does not have yet. */
  pending: string[];
  logSize: number;
  compactAt: number;
  writing: Promise<void>;
  /** Whether its folder could not be written: then the log has gaps, and the record is in memory only. */
  failing: boolean;
}

/**
 * The evidence of this agent's transactions. It watches and writes beside them: no transaction waits for it, and what goes
 * wrong with it is an event and nothing else. What it has seen is in a log, from which the next agent tells the end of
 * what this one began.
 */
export class Evidence {
  private readonly open = new Map<string, Open>();
  private readonly folders: EvidenceFolders;
  /** Of complete folders, by name. */
  private readonly summaries = new Map<string, EvidenceSummary>();
  private readonly finishing = new Set<Promise<void>>();
  private readonly closing = new AbortController();
  private retention: EvidenceRetention;
  /** Removes what is outdated. Calls at the same time share one search. */
  private readonly prune = singleFlight(() => this.removeOutdated());
  private readonly ageing: NodeJS.Timeout;

  constructor(private readonly parts: EvidenceParts) {
    this.folders = new EvidenceFolders(parts.directory);
    this.retention = parts.retention ?? evidenceRetention.parse({});
    // Old records go even if nothing is changed any more.
    this.ageing = setInterval(() => this.inBackground("what is kept", () => this.prune()), PRUNE_MS).unref();
  }

  /** Keeps this much from now on, and removes what is more. */
  async keep(retention: EvidenceRetention | undefined): Promise<void> {
    this.retention = retention ?? evidenceRetention.parse({});
    await this.prune();
  }

  opened(opened: { id: string; target: Target; owner: Owner }): void {
    this.guarded(opened.target, () => {
      const { host, agent } = this.parts;
      const before = host.committed;
      const record = newRecord(opened, { agent, begunAt: Date.now() });
      const open = this.track(record, before);
      reduce(record, { kind: "mark", mark: { at: record.begunAt, kind: "begin", text: `${opened.owner.who} begins` } });
      const { split } = describeChange(opened.target, before, before);
      if (split !== undefined) record.splits.push({ at: record.begunAt, parts: split });
      this.startLog(open);
      open.snapshotTaken = takeSnapshot(host, opened.target, [before], this.parts.copies).then(
        (snapshot) => this.add(open, { kind: "before", look: snapshot }),
        (error: unknown) => this.failed(opened.target, error),
      );
    });
  }

  /** Resolves once it was seen how everything was before the change, or when that has taken too long. Never rejects. */
  async waitForSnapshot(id: string): Promise<void> {
    const open = this.open.get(id);
    if (open === undefined || open.waitedFor) return;
    open.waitedFor = true;
    await withTimeout(open.snapshotTaken, SNAPSHOT_WAIT_MS, () => undefined);
  }

  mark(id: string, kind: Mark["kind"], text: string): void {
    this.with(id, (open) => this.add(open, { kind: "mark", mark: { at: Date.now(), kind, text } }));
  }

  /** The transaction takes a server out of the traffic, for as long as its release is replaced. */
  drains(id: string, server: string): void {
    this.with(id, (open) => {
      open.changedServer = server;
    });
  }

  /** The transaction has changed what is wanted of the host. */
  changed(id: string): void {
    this.with(id, (open) => {
      const change = describeChange(open.record.target, open.before, this.parts.host.working(), open.changedServer);
      this.add(open, { kind: "change", at: Date.now(), ...change });
    });
  }

  /** Resolves once they are written, or can't be: whoever sends them need not wait. */
  async notes(id: string, notes: readonly Note[]): Promise<void> {
    this.with(id, (open) => {
      for (const note of notes) this.add(open, { kind: "note", note });
    });
    await this.open.get(id)?.writing;
  }

  undoing(id: string, ending: Ending, reason: string): void {
    this.with(id, (open) => {
      this.add(open, { kind: "undoing", at: Date.now(), ending, reason });
      const { host } = this.parts;
      // The undo does not wait for it.
      const snapshotTaken = takeSnapshot(
        host,
        open.record.target,
        [open.before, host.working()],
        this.parts.copies,
      ).then(
        (snapshot) => this.add(open, { kind: "during", look: snapshot }),
        (error: unknown) => this.failed(open.record.target, error),
      );
      open.snapshotTaken = Promise.all([open.snapshotTaken, snapshotTaken]).then(() => undefined);
    });
  }

  /** @param notUp processes that an undo has started and that are not up */
  ended(id: string, verdict: "committed" | "undone", notUp?: string): void {
    this.with(id, (open) => {
      this.add(open, { kind: "ended", at: Date.now(), verdict, notUp });
      this.inBackground(open.record.target, () => this.finish(open));
    });
  }

  /** Completes what an earlier agent has left; to be called once everything is as it was committed. */
  recover(left: readonly Left[]): void {
    this.inBackground("an earlier agent's transaction", async () => {
      const { host, agent } = this.parts;
      const isCommitted = (id: string) => host.committed.transactions.some((entry) => entry.id === id);
      await this.folders.sweep();
      for (const { record, bad } of await leftBehind(this.folders, left, { agent, isCommitted, now: Date.now() })) {
        if (bad > 0) this.parts.events.emit(`${bad} lines of the evidence of ${record.id} can't be read`);
        await this.publish(this.track(record, host.committed), { complete: true });
      }
      await this.prune();
    });
  }

  /** The newest ones first, and the folders of those that can't be read. */
  async list(limit: number): Promise<EvidenceList> {
    const open = [...this.open.values()].map(({ record, ...each }) => summaryOf(record, this.pathOf(each)));
    const names = (await this.folders.names()).filter((name) => !this.open.has(idOf(name))).slice(0, limit);
    const complete: EvidenceSummary[] = [];
    const unreadable: string[] = [];
    for (const name of names) {
      const summary = this.summaries.get(name) ?? (await this.summarize(name));
      if (summary === "unreadable") unreadable.push(this.folders.pathOf(name));
      else if (summary !== undefined) complete.push(summary);
    }
    const evidence = [...open, ...complete].toSorted((a, b) => b.begunAt - a.begunAt).slice(0, limit);
    return { evidence, unreadable };
  }

  private async summarize(name: string): Promise<EvidenceSummary | "unreadable" | undefined> {
    try {
      const record = await this.folders.read(name);
      if (record === undefined) return undefined;
      const summary = summaryOf(record, this.folders.pathOf(name));
      this.summaries.set(name, summary);
      return summary;
    } catch (error) {
      this.failed(`${name} (its evidence.json can't be read)`, error);
      return "unreadable";
    }
  }

  /** Path of its record; undefined if it could not be written. */
  private pathOf({ name, failing }: Pick<Open, "name" | "failing">): string | undefined {
    return failing ? undefined : this.folders.pathOf(name);
  }

  /** Everything about one transaction, also one that runs; undefined if there is no evidence of it. */
  async get(id: string): Promise<{ record: EvidenceRecord; folder?: string | undefined } | undefined> {
    const open = this.open.get(id);
    if (open !== undefined) {
      const measured = await measureSides(open.record, this.parts.meter, Date.now());
      return { record: { ...open.record, ...measured }, folder: this.pathOf(open) };
    }
    const name = await this.folders.find(id);
    const record = name === undefined ? undefined : await this.folders.read(name);
    return name === undefined || record === undefined ? undefined : { record, folder: this.folders.pathOf(name) };
  }

  /** Completes what has ended, without waiting for the meter; not longer than `deadlineMs`. What is not done then, the next agent does. */
  async close(deadlineMs: number): Promise<void> {
    clearInterval(this.ageing);
    this.closing.abort();
    await withTimeout(Promise.all(this.finishing), deadlineMs, () => undefined);
  }

  private track(record: EvidenceRecord, before: Desired): Open {
    const open: Open = {
      ...{
        record,
        name: EvidenceFolders.nameOf(record),
        before,
        snapshotTaken: Promise.resolve(),
        waitedFor: false,
        pending: [],
      },
      ...{ logSize: 0, compactAt: COMPACT_AT, writing: Promise.resolve(), failing: false },
    };
    this.open.set(record.id, open);
    return open;
  }

  private add(open: Open, entry: Entry): void {
    const clean = shownTexts(entry, this.parts.secrets());
    reduce(open.record, clean);
    open.pending.push(`${JSON.stringify(clean)}\n`);
    if (open.logSize > open.compactAt) this.startLog(open);
    else if (open.pending.length === 1) this.write(open, () => this.flush(open));
  }

  /** Writes the record as it is by now as the first line of its log. */
  private startLog(open: Open): void {
    const line = `${JSON.stringify(open.record)}\n`;
    open.pending = [];
    open.logSize = line.length;
    open.compactAt = Math.max(COMPACT_AT, 2 * line.length);
    this.write(open, () => this.folders.begin(open.name, line));
  }

  private async flush(open: Open): Promise<void> {
    const lines = open.pending.splice(0).join("");
    open.logSize += lines.length;
    // A log with a gap is worse than one that ends.
    if (lines !== "" && !open.failing) await this.folders.append(open.name, lines);
  }

  /** Looks, measures and writes; once more when the meter has caught up. Backends, of which hundreds may change at once, are written then. */
  private async finish(open: Open): Promise<void> {
    if (open.record.target.startsWith("backend/")) await this.lookAfter(open);
    else await this.publish(open, { complete: false });
    const { signal } = this.closing;
    if (!signal.aborted) await sleep(SETTLE_MS, undefined, { signal, ref: false }).catch(() => undefined);
    await this.publish(open, { complete: true });
    await this.prune();
  }

  private async publish(open: Open, { complete }: { complete: boolean }): Promise<void> {
    const { record } = open;
    await this.lookAfter(open);
    Object.assign(record, await measureSides(record, this.parts.meter, Date.now()));
    await this.write(open, async () => {
      await this.folders.publish(open.name, record, { complete });
      open.failing = false;
    });
    if (!complete) return;
    if (!open.failing) this.open.delete(record.id);
    await this.retryUnwritten();
  }

  private async lookAfter({ record, before, snapshotTaken }: Open): Promise<void> {
    const { host, secrets, copies } = this.parts;
    await snapshotTaken;
    record.after ??= shownTexts(await takeSnapshot(host, record.target, [before, host.committed], copies), secrets());
  }

  /** Writes evidence that could not be written for lack of space; keeps the newest that still can't. */
  private async retryUnwritten(): Promise<void> {
    const ended = [...this.open.values()].filter(({ record, failing }) => failing && record.verdict !== "running");
    for (const open of ended) {
      open.failing = false;
      await this.write(open, () => this.folders.publish(open.name, open.record, { complete: true }));
      if (!open.failing) this.open.delete(open.record.id);
    }
    const left = ended.filter(({ failing }) => failing);
    for (const { record } of left.slice(0, -MAX_UNWRITTEN)) this.open.delete(record.id);
  }

  private async removeOutdated(): Promise<void> {
    const held = new Set([...this.open.values()].map(({ name }) => name));
    const folders = await this.folders.complete(held);
    for (const name of outdated(folders, Date.now(), this.retention)) {
      await this.folders.remove(name);
      this.summaries.delete(name);
    }
  }

  /** Writes after pending writes of the same transaction. A failure is reported once. */
  private write(open: Open, work: () => Promise<void>): Promise<void> {
    open.writing = open.writing.then(work).catch((error: unknown) => {
      if (!open.failing) this.failed(open.record.target, error);
      open.failing = true;
    });
    return open.writing;
  }

  private inBackground(target: string, work: () => Promise<void>): void {
    const running = work()
      .catch((error: unknown) => this.failed(target, error))
      .finally(() => this.finishing.delete(running));
    this.finishing.add(running);
  }

  private with(id: string, work: (open: Open) => void): void {
    const open = this.open.get(id);
    if (open !== undefined) this.guarded(open.record.target, () => work(open));
  }

  private guarded(target: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.failed(target, error);
    }
  }

  private failed(target: string, error: unknown): void {
    const why = messageOf(error);
    this.parts.events.emit(`the evidence of ${target} is not complete: ${why}`, { target });
  }
}

function idOf(name: string): string {
  return name.slice(-36);
}
