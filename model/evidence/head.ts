import { formatMilliseconds } from "../duration";
import { breachOf } from "./breach";
import { html, type Markup } from "./html";
import { type EvidenceRecord, summaryOf } from "./record";
import { type StageState, stageOutcomes } from "./stages";
import { changeInWords, formatOffset, formatTime, verdictInWords } from "./words";

const SIGNS = {
  committed: "M5 12.5l4.5 4.5L19 7.5",
  undone: "M8 5L3.5 9.5 8 14M4 9.5h9.5a6 6 0 0 1 0 12H9",
  running: "M12 6v6l4 2.5",
} as const;

/** Signs that need no colour. */
const STAGE_SIGNS: Record<StageState, string> = {
  passed: "\u2713",
  watched: "\u2026",
  breached: "\u2717",
  refused: "\u2717",
  stopped: "\u25a0",
  "not reached": "\u00b7",
};

/** `route/api: 0% → 10%` */
export function titleOf(record: EvidenceRecord): string {
  return `${record.target}: ${changeInWords(summaryOf(record, undefined))}`;
}

/** What happened, why, how far it came, when, and by whom: what has to be seen first. */
export function headOf(record: EvidenceRecord): Markup {
  const { verdict, begunAt, endedAt, owner, program } = record;
  const took = endedAt === undefined ? "has not ended" : `took ${formatMilliseconds(endedAt - begunAt)}`;
  const revision = program?.git?.revision;
  return html`<header class="${verdict}">${verdictLine(verdict)}
<h1>${titleOf(record)}</h1><p class="lead">${verdictInWords(record)}.</p>${why(record)}${strip(record)}
<p class="soft lead">${formatTime(begunAt)}, ${took}, by ${program?.ci?.actor !== undefined && `${program.ci.actor} as `}${owner.who}${revision !== undefined && html`, from <code>${revision.slice(0, 12)}</code>`}</p></header>`;
}

/** @param words instead of the verdict's own */
export function verdictLine(verdict: EvidenceRecord["verdict"], words: string = verdict): Markup {
  return html`<p class="verdict"><svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="${SIGNS[verdict]}"/></svg>${words.slice(0, 1).toUpperCase()}${words.slice(1)}</p>`;
}

/** What was measured beside what was allowed; the reason in words where no gate has measured anything. */
function why(record: EvidenceRecord): Markup | false {
  const { reason, begunAt } = record;
  const breach = breachOf(record);
  const said = reason ?? breach?.reason;
  const text = said !== undefined && html`<p class="reason">${said}</p>`;
  if (breach === undefined || breach.compared.length === 0) return text;
  const { stage, gate, at, requests, compared } = breach;
  const when = at === undefined ? "" : ` at ${formatOffset(at - begunAt)}`;
  const of = requests === undefined ? "" : `, by ${requests} requests`;
  return html`<div class="why"><table><caption>Gate ${gate} of stage ${stage}${when}${of}</caption><thead><tr><th scope="col">Metric</th><th scope="col">Measured</th><th scope="col">Held against</th><th scope="col"></th></tr></thead><tbody>${compared.map(
    ({ metric, measured, against, times, broken }) =>
      html`<tr class="${broken ? "broken" : "holds"}"><th scope="row">${metric}</th><td class="measured">${measured}</td><td>${against}</td><td>${broken ? `\u2717 ${times ?? "broken"}` : "\u2713 holds"}</td></tr>`,
  )}</tbody></table></div>${text}`;
}

function strip(record: EvidenceRecord): Markup | false {
  const all = stageOutcomes(record);
  const time = (ms: number | undefined) => ms !== undefined && ms > 0 && `, ${formatMilliseconds(ms)}`;
  return (
    all.length > 0 &&
    html`<ol class="stages" aria-label="Stages, in order">${all.map(
      ({ stage, state, tookMs, windowMs }) =>
        html`<li class="${state.replace(" ", "-")}"><span aria-hidden="true">${STAGE_SIGNS[state]}</span> <strong>${stage}</strong> <span class="state">${state}${state === "not reached" || state === "refused" ? "" : time(tookMs)}${state !== "passed" && state !== "not reached" && state !== "refused" && windowMs !== undefined && windowMs > 0 && ` of ${formatMilliseconds(windowMs)}`}</span></li>`,
    )}</ol>`
  );
}
