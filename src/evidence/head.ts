import { type EvidenceRecord, summaryOf } from "../model/evidence/record";
import { formatMilliseconds } from "../model/types/duration";
import { breachOf } from "./breach";
import { html, type Markup } from "./html";
import { type StageOutcome, type StageState, stageOutcomes } from "./stages";
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

/** Most stages of which each is shown by itself, and how many of a long run are. */
const SHOWN_STAGES = 10;
const SHOWN_OF_RUN = 2;
/** Length at which the further lines of a reason are cut, in characters: the timeline has all of it. */
const SHOWN_REST = 400;

/** `route/api: 0% → 10%` */
export function titleOf(record: EvidenceRecord): string {
  return `${record.target}: ${changeInWords(summaryOf(record, undefined))}`;
}

/** Result, reason, progress, time and author: the facts to see first. */
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

/** The measured value beside its limit; the reason in words if no gate has measured anything. */
function why(record: EvidenceRecord): Markup | false {
  const { reason, begunAt } = record;
  const breach = breachOf(record);
  const [first = "", ...more] = (reason ?? breach?.reason ?? "").split("\n");
  const rest = more.join("\n").trim();
  const cut = rest.length > SHOWN_REST ? `${rest.slice(0, SHOWN_REST)}\u2026` : rest;
  const text = html`${first !== "" && html`<p class="reason">${first}</p>`}${cut !== "" && html`<p class="rest soft">${cut}</p>`}`;
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
  const shown = all.length > SHOWN_STAGES ? runsOf(all).flatMap(shortened) : all.map((one) => ({ ...one, more: 0 }));
  const time = (ms: number | undefined) => ms !== undefined && ms > 0 && `, ${formatMilliseconds(ms)}`;
  return (
    all.length > 0 &&
    html`<ol class="stages" aria-label="Stages, in order">${shown.map(({ stage, state, tookMs, windowMs, more }) =>
      more > 0
        ? html`<li class="more"><span class="state">${more} more ${state}</span></li>`
        : html`<li class="${state.replace(" ", "-")}"><span aria-hidden="true">${STAGE_SIGNS[state]}</span> <strong>${stage}</strong> <span class="state">${state}${state === "not reached" || state === "refused" ? "" : time(tookMs)}${state !== "passed" && state !== "not reached" && state !== "refused" && windowMs !== undefined && windowMs > 0 && ` of ${formatMilliseconds(windowMs)}`}</span></li>`,
    )}</ol>`
  );
}

/** Stages one after the other that came equally far. */
function runsOf(all: readonly StageOutcome[]): StageOutcome[][] {
  return all.reduce<StageOutcome[][]>((runs, one) => {
    const last = runs.at(-1);
    if (last?.[0]?.state === one.state) last.push(one);
    else runs.push([one]);
    return runs;
  }, []);
}

/** The last ones of a run that passed, the first ones of any other, and how many more there are. */
function shortened(run: readonly StageOutcome[]): (StageOutcome & { more: number })[] {
  const each = run.map((one) => ({ ...one, more: 0 }));
  const [first] = each;
  const more = each.length - SHOWN_OF_RUN;
  if (first === undefined || more <= 1) return each;
  const rest = { ...first, more };
  return first.state === "passed" ? [rest, ...each.slice(-SHOWN_OF_RUN)] : [...each.slice(0, SHOWN_OF_RUN), rest];
}
