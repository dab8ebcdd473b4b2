import { differences } from "../model/evidence/differences";
import type { Change, EvidenceRecord, EvidenceSnapshot, GateEvidence } from "../model/evidence/record";
import { formatMilliseconds } from "../model/types/duration";
import { figureCells, figureHeads, labelOf } from "./charts";
import { html, type Markup } from "./html";
import { formatClock, formatOffset, formatTime } from "./words";

/** Marks, and probes of a gate, that are shown at once; the rest can be opened. */
const SHOWN_MARKS = 60;
const SHOWN_PROBES = 200;

/** Author, times and origin. */
export function factsOf({ owner, program, agent, id, begunAt, endedAt }: EvidenceRecord): Markup {
  const { git, ci, parts = [] } = program ?? {};
  const set = ci?.actor === undefined ? "" : `, set off by ${ci.actor}`;
  const written = git?.author === undefined ? "" : `by ${git.author}`;
  const rows: [string, Markup | string | undefined][] = [
    ["Who", `${owner.who}, process ${owner.pid}${set}`],
    ["When", `${formatTime(begunAt)}${endedAt === undefined ? "" : ` to ${formatTime(endedAt)}`}`],
    ["Job", ci?.url],
    ["Stack", program?.stack && `${program.project ?? ""}/${program.stack}`],
    ["Resource", program?.name && `${program.name} (${program.type ?? ""})`],
    [
      "Git revision",
      git &&
        html`<code>${git.revision}</code>${git.branch !== undefined && ` on ${git.branch}`}${git.dirty === true && html`<strong>, with uncommitted changes</strong>`}`,
    ],
    ["Its commit", git?.subject && [`\u201c${git.subject}\u201d`, written].filter(Boolean).join(" ")],
    ["Agent", `${agent.host}, version ${agent.version}`],
    [
      "Change",
      program?.group &&
        html`<code>${program.group}</code>: this is one agent's part of it${parts.map((part) => html`<br><code>${part.id.slice(0, 8)}</code> ${part.target} of the agent at ${part.socket}${part.id === id && ", this one"}`)}`,
    ],
    ["Update", program?.update && html`<code>${program.update}</code>`],
    ["Transaction", html`<code>${id}</code>`],
    ["URN", html`<code>${owner.why}</code>`],
  ];
  return html`<dl>${rows.map(([name, value]) => value !== undefined && value !== "" && html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** A table that may be wider than its page: then it moves within, also by the keyboard. */
function scrolling(label: string, table: Markup): Markup {
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${label}">${table}</div>`;
}

export function changesOf({ changes: all, verdict }: EvidenceRecord): Markup {
  if (all.length === 0)
    return html`<p class="soft">Nothing of what is declared was changed, or the change was not reached.</p>`;
  return changeTable(all, ["Declared", "Before", verdict === "undone" ? "With the change" : "After"]);
}

function changeTable(all: readonly Change[], [path, from, to]: [string, string, string]): Markup {
  const cell = (value: string | null, kind: string, title: string) =>
    value === null
      ? html`<td class="soft" data-title="${title}">\u2013</td>`
      : html`<td class="value" data-title="${title}"><span class="${kind}">${value}</span></td>`;
  return html`<table class="changes cards"><thead><tr><th scope="col">${path}</th><th scope="col">${from}</th><th scope="col">${to}</th></tr></thead><tbody>${all.map(
    (change) =>
      html`<tr><td class="path">${change.path}</td>${cell(change.from, "old", from)}${cell(change.to, "new", to)}</tr>`,
  )}</tbody></table>`;
}

export function timelineOf({ marks, begunAt, verdict }: EvidenceRecord): Markup {
  const sorted = marks.toSorted((a, b) => a.at - b.at);
  const list = (some: typeof sorted) =>
    html`<ol class="timeline">${some.map(
      ({ at, kind, text }) =>
        html`<li><time datetime="${new Date(at).toISOString()}">${formatOffset(at - begunAt)} <span class="clock">${formatClock(at).slice(0, 8)}</span></time><span><span class="tag ${kind} ${verdict}">${kind}</span></span><span class="text">${text}</span></li>`,
    )}</ol>`;
  if (sorted.length <= SHOWN_MARKS) return list(sorted);
  const half = SHOWN_MARKS / 2;
  return html`${list(sorted.slice(0, half))}<details><summary>${sorted.length - SHOWN_MARKS} more</summary>${list(sorted.slice(half, -half))}</details>${list(sorted.slice(-half))}`;
}

export function stretchesOf(record: EvidenceRecord): Markup {
  const group = ({ title, from, to, figures }: EvidenceRecord["stretches"][number]) =>
    figures.map((each, index) => {
      const span = html`<th scope="rowgroup" rowspan="${figures.length}">${title} <span class="soft">${formatMilliseconds(to - from)}</span></th>`;
      return html`<tr>${index === 0 && span}<td>${labelOf(record, each.role)}</td>${figureCells(each, record)}</tr>`;
    });
  return scrolling(
    "Figures by stage",
    html`<table class="groups"><thead><tr><th scope="col">Time</th><th scope="col">Side</th>${figureHeads(record)}</tr></thead>${record.stretches.map((stretch) => html`<tbody>${group(stretch)}</tbody>`)}</table>`,
  );
}

export function gatesOf({ gates: all, begunAt }: EvidenceRecord): Markup {
  if (all.length === 0) return html`<p class="soft">This change had no gates.</p>`;
  const row = (gate: GateEvidence) =>
    html`<tr class="${gate.outcome}"><td data-title="Stage">${gate.stage}</td><th scope="row">${gate.gate}</th><td data-title="Must hold">${gate.limits.map((limit, index) => html`${index > 0 && html`<br>`}${limit}`)}</td><td data-title="Measured last">${gate.measurements.at(-1)?.text ?? "\u2013"}</td><td data-title="Probes">${probeCounts(gate)}</td><td data-title="Outcome"><span class="tag ${gate.outcome}">${gate.outcome}</span></td></tr>`;
  const reason = ({ outcome, reason: why }: GateEvidence) =>
    outcome === "breach" &&
    why !== undefined &&
    html`<tr class="breach"><td></td><td colspan="5"><strong>${why}</strong></td></tr>`;
  return html`<table class="gates cards"><thead><tr><th scope="col">Stage</th><th scope="col">Gate</th><th scope="col">Must hold</th><th scope="col">Measured last</th><th scope="col">Probes</th><th scope="col">Outcome</th></tr></thead><tbody>${all.map(
    (gate) => html`${row(gate)}${reason(gate)}`,
  )}</tbody></table>${all.filter(({ measurements }) => measurements.length > 1).map((gate) => probes(gate, begunAt))}`;
}

function probeCounts({ probes: counts }: GateEvidence): string {
  const parts = Object.entries(counts).flatMap(([verdict, count]) => (count === 0 ? [] : [`${count} ${verdict}`]));
  return parts.join(", ") || "none";
}

function probes({ stage, gate, measurements }: GateEvidence, begunAt: number): Markup {
  const shown = measurements.slice(-SHOWN_PROBES);
  const which = shown.length === measurements.length ? "All kept probes" : `The last ${shown.length} probes`;
  return html`<details><summary>${which} of ${gate}, stage ${stage}</summary><table><thead><tr><th scope="col">When</th><th scope="col">Verdict</th><th scope="col">Measured</th></tr></thead><tbody>${shown.map(
    ({ at, verdict, text }) =>
      html`<tr><td>${formatOffset(at - begunAt)}</td><td><span class="tag ${verdict}">${verdict}</span></td><td>${text}</td></tr>`,
  )}</tbody></table></details>`;
}

export function snapshotsOf({ before, during, after, begunAt, splits, verdict }: EvidenceRecord): Markup {
  if (before === undefined || after === undefined)
    return html`<p class="soft">${verdict === "running" ? "The diagnostics after the change follow at its end." : `There are no diagnostics from ${before === undefined ? "before" : "after"} the change: the agent ended before they were written.`}</p>`;
  const different = differences(before.values, after.values);
  const same = Object.entries(before.values).filter(([path, value]) => after.values[path] === value);
  const firstStep = splits[1]?.at ?? Number.POSITIVE_INFINITY;
  return html`<p class="soft">Seen by the agent on its host at ${formatOffset(before.at - begunAt)} and ${formatOffset(after.at - begunAt)}${before.at > firstStep && ", the first one after the change had begun"}.</p>
${different.length === 0 ? html`<p class="lead">Nothing differs.</p>` : changeTable(different, ["Observed", "Before", "After"])}${notes(before, "before")}${notes(after, "after")}${during !== undefined && html`<h3 class="lead">As the undo began, at ${formatOffset(during.at - begunAt)}</h3>${changeTable(differences(before.values, during.values), ["Observed", "Before", "As the undo began"])}${notes(during, "then")}`}
${same.length > 0 && html`<details><summary>${same.length} observed values are the same</summary><table><tbody>${same.map(([path, value]) => html`<tr><td class="path">${path}</td><td class="value">${value}</td></tr>`)}</tbody></table></details>`}`;
}

function notes({ notes: all }: EvidenceSnapshot, when: string): Markup | false {
  return all.length > 0 && html`<p class="lead soft">Not seen ${when}: ${all.join("; ")}.</p>`;
}
