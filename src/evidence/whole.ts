import { type EvidenceRecord, summaryOf } from "../model/evidence/record";
import { formatMilliseconds } from "../model/types/duration";
import { titleOf, verdictLine } from "./head";
import { html, type Markup } from "./html";
import { bodyOf, documentOf, footOf } from "./page";
import { changeInWords, formatOffset, formatTime } from "./words";

export interface Whole {
  /** Of the same change on several agents, or of the same `pulumi up`. */
  records: readonly EvidenceRecord[];
  /** Parts that are known of and not here, in words. */
  missing: readonly string[];
}

/** One page for all parts of a change, or for all changes of a `pulumi up`: what became of each of them, and then each by itself. */
export function renderWhole({ records, missing }: Whole): string {
  const inOrder = records.toSorted((a, b) => a.begunAt - b.begunAt || Number(isPassing(a)) - Number(isPassing(b)));
  const [first] = inOrder;
  if (first === undefined) throw new Error("a page needs a record");
  const title = wholeTitle(inOrder);
  const words = verdictsInWords(inOrder);
  const body = html`${headOf(inOrder, missing, { title, words })}
${inOrder.map((record, index) => {
  const same = inOrder.slice(0, index).find((other) => isSameChange(record, other));
  const gatesElsewhere = same && `The same as of ${same.target} on ${same.agent.host}, above.`;
  return html`<article id="part-${index + 1}" aria-label="${titleOf(record)}">${bodyOf(record, { prefix: `part${index + 1}-`, gatesElsewhere })}</article>`;
})}${footOf(inOrder)}`;
  return documentOf(`${words} \u00b7 ${title}`, first.agent.version, body);
}

/** Whether it only leads traffic past what changes. */
function isPassing({ target, summary }: EvidenceRecord): boolean {
  return target.startsWith("backend/") && summary?.to !== "there";
}

function isSameChange({ program }: EvidenceRecord, other: EvidenceRecord): boolean {
  return program?.group !== undefined && program.group === other.program?.group;
}

/** The change itself where all are parts of one; else the update. */
function wholeTitle(records: readonly EvidenceRecord[]): string {
  const [first] = records;
  const main = records.find((record) => !isPassing(record)) ?? first;
  if (main === undefined) return "";
  if (records.every((record) => isSameChange(record, main))) return `${titleOf(main)}, in ${records.length} parts`;
  const { project = "", stack = "" } = main.program ?? {};
  return `pulumi up of ${project}/${stack}: ${records.length} changes`;
}

/** `committed`, or `2 committed, 1 undone`. */
export function verdictsInWords(records: readonly Pick<EvidenceRecord, "verdict">[]): string {
  const verdicts = (["committed", "undone", "running"] as const).map((verdict) => ({
    verdict,
    count: records.filter((record) => record.verdict === verdict).length,
  }));
  const there = verdicts.filter(({ count }) => count > 0);
  const [only] = there;
  return there.length === 1 && only !== undefined
    ? only.verdict
    : there.map(({ verdict, count }) => `${count} ${verdict}`).join(", ");
}

function headOf(
  records: readonly EvidenceRecord[],
  missing: readonly string[],
  { title, words }: { title: string; words: string },
): Markup {
  const worst = (["running", "undone", "committed"] as const).find((each) =>
    records.some(({ verdict }) => verdict === each),
  );
  const begunAt = Math.min(...records.map((record) => record.begunAt));
  const who = [...new Set(records.map(({ owner }) => owner.who))].join(", ");
  const row = (record: EvidenceRecord, index: number) => {
    const { verdict, endedAt, reason } = record;
    const took = endedAt === undefined ? "" : `, ${formatMilliseconds(endedAt - record.begunAt)}`;
    return html`<tr><td data-title="When">${formatOffset(record.begunAt - begunAt)}${took}</td><th scope="row"><a href="#part-${index + 1}">${record.target}</a></th><td data-title="Agent">${record.agent.host}</td><td data-title="Change">${changeInWords(summaryOf(record, undefined))}</td><td data-title="Verdict"><span class="tag end ${verdict}">${verdict}</span></td><td data-title="Why">${(reason ?? "").split("\n")[0]}</td></tr>`;
  };
  return html`<header class="${worst ?? "running"}">${verdictLine(worst ?? "running", words)}
<h1>${title}</h1><p class="soft lead">${formatTime(begunAt)}, by ${who}</p>
<table class="cards parts lead"><thead><tr><th scope="col">When</th><th scope="col">Target</th><th scope="col">Agent</th><th scope="col">Change</th><th scope="col">Verdict</th><th scope="col">Why</th></tr></thead><tbody>${records.map(row)}</tbody></table>${missing.length > 0 && html`<p class="lead"><strong>Not on this page:</strong> ${missing.join("; ")}.</p>`}</header>`;
}
