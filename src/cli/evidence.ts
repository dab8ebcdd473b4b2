import { Command } from "commander";
import { z } from "zod";
import { renderPage } from "../evidence/page";
import { renderWhole, verdictsInWords } from "../evidence/whole";
import { changeInWords, evidenceText, formatTime } from "../evidence/words";
import {
  type EvidenceRecord,
  type EvidenceSummary,
  evidenceRecord,
  evidenceSummary,
  MAX_LISTED,
} from "../model/evidence/record";
import { formatMilliseconds } from "../model/types/duration";
import { safeJson, safeLine, safeText } from "../model/types/safe-text";
import type { Reached } from "./common/agent";
import { type AgentsGiven, withAgents, withAgentsOptions } from "./common/agents";
import { EXIT, type ExitCode, type Terminal, UsageError } from "./common/exit";
import { type Cell, table, textStyleOf } from "./common/screen";
import { parseCount } from "./common/since";
import { openPage, writePage } from "./evidence/open";

const DEFAULT_LAST = 20;
/** Fewest characters of an id that stand for it, and how many the list shows. */
const LEAST_PREFIX = 4;
const SHOWN_ID = 8;
const NEWEST = "last";

const agent = z
  .string()
  .describe("socket of the agent, with its host if that is another one; for several agents, all of them");
/** `sluice evidence --json` */
export const evidenceListDocument = z.strictObject({
  agent,
  evidence: z.array(evidenceSummary.extend({ agent })).describe("the newest first"),
  unreadable: z
    .array(z.string())
    .describe("folders whose evidence.json can't be read, because it was changed or cut short"),
});
const whole = z.strictObject({
  agent,
  folder: z.string().optional().describe("on the agent's host; absent if it could not be written"),
  record: evidenceRecord,
});
/** `sluice evidence ID --json` */
export const evidenceDocument = whole.extend({
  others: z
    .array(whole)
    .describe("other parts of the same change; with --update, all other changes of the same update"),
});

interface Given extends AgentsGiven {
  last?: string;
  target?: string;
  update?: boolean;
  open?: boolean;
  html?: string;
}

type Agents = [Reached, ...Reached[]];
/** A transaction in a list, and whose it is. */
type Listed = EvidenceSummary & { agent: string };
/** Everything about one. */
interface Found {
  agent: string;
  folder?: string | undefined;
  record: EvidenceRecord;
}

/** `sluice evidence`: what agents have recorded of their transactions. */
export function evidenceCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return withAgentsOptions(
    new Command("evidence")
      .description("Lists the evidence of changes, or shows one: verdict, gates, measurements, charts.")
      .argument("[id]", `the first characters of a transaction's id, or "${NEWEST}" for the newest one`),
  )
    .option("--last <n>", `list the newest n (default: ${DEFAULT_LAST})`)
    .option("--target <target>", "list changes of one target only, such as pool/web or route/api")
    .option("--update", "include everything else that the same pulumi up changed")
    .option("--open", "open the page in a browser, and print its path")
    .option("--html <file>", 'write the page to a file, or to standard output with "-"')
    .action(async (id: string | undefined, given: Given) => {
      if (id === undefined && (given.open === true || given.html !== undefined || given.update === true))
        throw new UsageError([`--open, --html and --update apply to one change: give its id, or "${NEWEST}"`]);
      const code = await withAgents(given, terminal, (agents) =>
        id === undefined ? list(given, agents, terminal) : show(id, given, agents, terminal),
      );
      finish(code);
    });
}

/** The newest ones of all agents, and the folders of those that can't be read. */
async function listed(agents: Agents, limit: number): Promise<{ evidence: Listed[]; unreadable: string[] }> {
  const all = await Promise.all(
    agents.map(async ({ client, where }) => {
      const { evidence, unreadable } = await client.evidenceList(limit);
      const folders = agents.length > 1 ? unreadable.map((folder) => `${folder} of ${where}`) : unreadable;
      return { evidence: evidence.map((each) => ({ ...each, agent: where })), unreadable: folders };
    }),
  );
  const evidence = all.flatMap((each) => each.evidence).toSorted((a, b) => b.begunAt - a.begunAt);
  return { evidence, unreadable: all.flatMap((each) => each.unreadable) };
}

async function list({ last, target, json }: Given, agents: Agents, terminal: Terminal): Promise<ExitCode> {
  const count = last === undefined ? DEFAULT_LAST : parseCount("--last", last, MAX_LISTED);
  const { evidence: all, unreadable } = await listed(agents, MAX_LISTED);
  const wanted = all.filter((each) => target === undefined || each.target === target);
  const evidence = (json ? wanted : withoutSiblings(wanted)).slice(0, count);
  const { stdout } = terminal;
  if (json) stdout.write(`${safeJson({ agent: namesOf(agents), evidence, unreadable }, 2)}\n`);
  else {
    for (const folder of unreadable) stdout.write(`${safeLine(folder)} can't be read: its change is not listed\n`);
    if (evidence.length > 0) stdout.write(`${listText(evidence, agents.length > 1, terminal)}\n`);
    else stdout.write(`there is no evidence of a change${target === undefined ? "" : ` of ${safeLine(target)}`}\n`);
  }
  return unreadable.length > 0 ? EXIT.problems : EXIT.good;
}

function namesOf(agents: Agents): string {
  return agents.map(({ where }) => where).join(", ");
}

/**
 * A list for people, in which the backends that one update has changed on an agent in the same way are one entry, the newest of them: a
 * program may declare hundreds, and each has its own evidence.
 */
function withoutSiblings(all: readonly Listed[]): Listed[] {
  const groups = new Map<string, [Listed, ...Listed[]]>();
  for (const each of all) {
    const { agent: where, target, verdict, update, id } = each;
    const [kind, edge] = target.split("/");
    const isSibling = kind === "backend" && verdict === "committed" && update !== undefined;
    const key = isSibling ? [where, edge, update, changeInWords(each)].join(" ") : `${where} ${id}`;
    const known = groups.get(key);
    if (known === undefined) groups.set(key, [each]);
    else known.push(each);
  }
  return [...groups.values()].map(([newest, ...others]) =>
    others.length === 0 ? newest : { ...newest, target: `${newest.target} and ${others.length} more` },
  );
}

function listText(evidence: readonly Listed[], several: boolean, terminal: Terminal): string {
  const rows = evidence.map((each): Cell[] => [
    each.id.slice(0, SHOWN_ID),
    formatTime(each.begunAt),
    ...(several ? [each.agent] : []),
    each.target,
    changeInWords(each),
    { text: each.verdict, tone: each.verdict === "committed" ? "good" : each.verdict === "undone" ? "bad" : "warn" },
    each.endedAt === undefined ? "" : formatMilliseconds(each.endedAt - each.begunAt),
    each.who,
    (each.reason ?? "").split("\n")[0] ?? "",
  ]);
  const columns = [
    { title: "id" },
    { title: "when" },
    ...(several ? [{ title: "agent" }] : []),
    { title: "target" },
    { title: "change", least: 12 },
    { title: "verdict" },
    { title: "took", align: "right" as const, expendable: 2 },
    { title: "who", least: 10, expendable: 1 },
    { title: "why", least: 16, expendable: 3 },
  ];
  return table(columns, rows, textStyleOf(terminal)).join("\n");
}

async function show(wanted: string, given: Given, agents: Agents, terminal: Terminal): Promise<ExitCode> {
  const { json, open, html } = given;
  const { evidence: all } = await listed(agents, MAX_LISTED);
  const chosen = chosenOf(wanted, all);
  const main = await read(chosen, agents);
  if (main === undefined)
    throw new UsageError([`the evidence of ${chosen.id} no longer exists: list the evidence that does`]);
  const belongs = (each: Listed) =>
    given.update === true
      ? each.update !== undefined && each.update === chosen.update
      : each.group !== undefined && each.group === chosen.group;
  const related = all.filter((each) => each.id !== chosen.id && belongs(each));
  const others = (await Promise.all(related.map((each) => read(each, agents)))).filter((each) => each !== undefined);
  const page = () => pageOf(main, others);
  if (html === "-") {
    terminal.stdout.write(page());
    return EXIT.good;
  }
  if (html !== undefined) await writePage(html, page());
  if (json) terminal.stdout.write(`${safeJson({ ...main, others }, 2)}\n`);
  else terminal.stdout.write(safeText(showText(main, others)));
  if (open !== true) return EXIT.good;
  const { path, opened } = await openPage(main.record, page(), terminal.env);
  // JSON is alone on the output.
  (json ? terminal.stderr : terminal.stdout).write(
    `${opened ? "opened" : "no browser can be opened here: the page is"} ${path}\n`,
  );
  return EXIT.good;
}

async function read({ id, agent: where }: Listed, agents: Agents): Promise<Found | undefined> {
  const found = await agents.find((each) => each.where === where)?.client.evidenceOf(id);
  return found && { agent: where, ...found };
}

function pageOf(main: Found, others: readonly Found[]): string {
  if (others.length === 0) return renderPage(main.record);
  const records = [main, ...others].map(({ record }) => record);
  const here = new Set(records.map(({ id }) => id));
  const missing = (main.record.program?.parts ?? []).filter(({ id }) => !here.has(id));
  return renderWhole({
    records,
    missing: missing.map(({ id, target, socket }) => `${target} (${id.slice(0, SHOWN_ID)}) of the agent at ${socket}`),
  });
}

function showText({ record, folder }: Found, others: readonly Found[]): string {
  const text = evidenceText(record, folder);
  if (others.length === 0) return text;
  const verdicts = verdictsInWords([record, ...others.map((each) => each.record)]);
  const lines = others.map(
    (each) =>
      `${each.record.id.slice(0, SHOWN_ID)}  ${each.record.verdict}  ${each.record.target} of ${each.agent}: ${changeInWords(each.record)}\n`,
  );
  return `${text}\nwith ${lines.length === 1 ? "another one" : `${lines.length} others`} (${verdicts}):\n${lines.join("")}`;
}

/** The transaction that the first characters of an id mean. */
function chosenOf(wanted: string, all: readonly Listed[]): Listed {
  const matching = wanted === NEWEST ? all.slice(0, 1) : all.filter(({ id }) => id.startsWith(wanted));
  const [first, second] = matching;
  if (wanted.length < LEAST_PREFIX)
    throw new UsageError([`${wanted} is too short for an id: give at least ${LEAST_PREFIX} characters`]);
  if (first === undefined)
    throw new UsageError([`${JSON.stringify(wanted)} is not a recorded change: see "sluice evidence" for the list`]);
  if (second !== undefined)
    throw new UsageError([
      `${wanted} matches ${matching.length} changes (${matching
        .slice(0, 3)
        .map(({ id }) => id)
        .join(", ")}): give more characters`,
    ]);
  return first;
}
