import { Command } from "commander";
import { z } from "zod";
import type { AgentClient } from "../agent/client/client";
import { formatMilliseconds } from "../model/duration";
import { renderPage } from "../model/evidence/page";
import { type EvidenceSummary, evidenceRecord, evidenceSummary, MAX_LISTED } from "../model/evidence/record";
import { changeInWords, evidenceText, formatTime } from "../model/evidence/words";
import { withAgent } from "./common/agent";
import { type AgentGiven, withAgentOptions } from "./common/options";
import { type Cell, lookOf, printable, table } from "./common/screen";
import { parseCount } from "./common/since";
import { openPage, writePage } from "./evidence/open";
import { EXIT, type ExitCode, type Terminal, UsageError } from "./exit";

const DEFAULT_LAST = 20;
/** Fewest characters of an id that stand for it, and how many the list shows. */
const LEAST_PREFIX = 4;
const SHOWN_ID = 8;
const NEWEST = "last";

/** `sluice evidence --json` */
export const evidenceListDocument = z.strictObject({
  agent: z.string().describe("socket of the agent, with the host where that is another one"),
  evidence: z.array(evidenceSummary).describe("the newest first"),
});
/** `sluice evidence ID --json` */
export const evidenceDocument = z.strictObject({
  agent: z.string().describe("socket of the agent, with the host where that is another one"),
  folder: z.string().describe("on the agent's host"),
  record: evidenceRecord,
});

interface Given extends AgentGiven {
  last?: string;
  target?: string;
  open?: boolean;
  html?: string;
}

/** `sluice evidence`: what an agent has recorded of its transactions. */
export function evidenceCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return withAgentOptions(
    new Command("evidence")
      .description("Lists what was recorded of each change, or shows one: verdict, gates, measurements, charts.")
      .argument("[id]", `the first characters of a transaction's id, or "${NEWEST}" for the newest one`),
  )
    .option("--last <n>", `list the newest n (default: ${DEFAULT_LAST})`)
    .option("--target <target>", "list those of one target only, such as pool/web or route/api")
    .option("--open", "open the page in a browser, and print its path")
    .option("--html <file>", 'write the page to a file, "-" for the output')
    .action(async (id: string | undefined, given: Given) => {
      if (id === undefined && (given.open === true || given.html !== undefined))
        throw new UsageError([`--open and --html are about one change: give its id, or "${NEWEST}"`]);
      await withAgent(given, terminal, ({ client, where }) =>
        id === undefined ? list(given, client, where, terminal) : show(id, given, client, where, terminal),
      );
      finish(EXIT.good);
    });
}

async function list({ last, target, json }: Given, client: AgentClient, agent: string, terminal: Terminal) {
  const count = last === undefined ? DEFAULT_LAST : parseCount("--last", last, MAX_LISTED);
  const all = await client.evidence(target === undefined ? Math.max(1, count) : MAX_LISTED);
  const evidence = all.filter((each) => target === undefined || each.target === target).slice(0, count);
  if (json) terminal.stdout.write(`${JSON.stringify({ agent, evidence }, null, 2)}\n`);
  else if (evidence.length === 0)
    terminal.stdout.write(`no change${target === undefined ? "" : ` of ${printable(target)}`} was recorded yet\n`);
  else terminal.stdout.write(`${listText(evidence, terminal)}\n`);
}

function listText(evidence: readonly EvidenceSummary[], terminal: Terminal): string {
  const rows = evidence.map((each): Cell[] => [
    each.id.slice(0, SHOWN_ID),
    formatTime(each.begunAt),
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
    { title: "target" },
    { title: "change", least: 12 },
    { title: "verdict" },
    { title: "took", align: "right" as const, expendable: 2 },
    { title: "who", least: 10, expendable: 1 },
    { title: "why", least: 16, expendable: 3 },
  ];
  return table(columns, rows, lookOf(terminal)).join("\n");
}

async function show(
  wanted: string,
  { json, open, html }: Given,
  client: AgentClient,
  agent: string,
  terminal: Terminal,
) {
  const id = await resolveId(wanted, client);
  const found = await client.evidenceOf(id);
  if (found === undefined) throw new UsageError([`the evidence of ${id} is not there any more: list what there is`]);
  const { record, folder } = found;
  const page = () => renderPage(record);
  if (html === "-") {
    terminal.stdout.write(page());
    return;
  }
  if (html !== undefined) await writePage(html, page());
  if (json) terminal.stdout.write(`${JSON.stringify({ agent, folder, record }, null, 2)}\n`);
  else terminal.stdout.write(`${evidenceText(record, folder).split("\n").map(printable).join("\n")}`);
  if (open !== true) return;
  const { path, opened } = await openPage(record, page(), terminal.env);
  // JSON is alone on the output.
  (json ? terminal.stderr : terminal.stdout).write(
    `${opened ? "opened" : "no browser can be opened here: the page is"} ${path}\n`,
  );
}

/** The id that its first characters mean. */
async function resolveId(wanted: string, client: AgentClient): Promise<string> {
  const all = await client.evidence(MAX_LISTED);
  const matching = wanted === NEWEST ? all.slice(0, 1) : all.filter(({ id }) => id.startsWith(wanted));
  const [first, second] = matching;
  if (wanted.length < LEAST_PREFIX)
    throw new UsageError([`${wanted} is too short for an id: give ${LEAST_PREFIX} characters of it at least`]);
  if (first === undefined)
    throw new UsageError([
      `${JSON.stringify(wanted)} is no change that was recorded: see "sluice evidence" for those there are`,
    ]);
  if (second !== undefined)
    throw new UsageError([
      `${wanted} stands for ${matching.length} changes (${matching
        .slice(0, 3)
        .map(({ id }) => id)
        .join(", ")}): give more of it`,
    ]);
  return first.id;
}
