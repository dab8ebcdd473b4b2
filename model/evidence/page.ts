import { formatMilliseconds } from "../duration";
import { chartsOf, FIGURE_HEADS, figureCells } from "./charts";
import { differences } from "./differences";
import { html, Markup } from "./html";
import { type Change, type EvidenceRecord, type GateEvidence, type Look, summaryOf } from "./record";
import { STYLE } from "./style";
import { changeInWords, formatOffset, formatTime, verdictInWords } from "./words";

/** Marks, and probes of a gate, that are shown at once; the rest can be opened. */
const SHOWN_MARKS = 60;
const SHOWN_PROBES = 200;

const SIGNS = {
  committed: "M5 12.5l4.5 4.5L19 7.5",
  undone: "M8 5L3.5 9.5 8 14M4 9.5h9.5a6 6 0 0 1 0 12H9",
  running: "M12 6v6l4 2.5",
} as const;

/**
 * A transaction's page: HTML that needs nothing from anywhere, runs no script, and reads well on paper. All values are
 * escaped, whatever they hold.
 */
export function renderPage(record: EvidenceRecord): string {
  const title = `${record.target}: ${changeInWords(summaryOf(record, undefined))}`;
  const policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy}"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="generator" content="Sluice ${record.agent.version}"><meta name="referrer" content="no-referrer"><link rel="icon" href="data:,"><title>${record.verdict} · ${title}</title><style>${new Markup(STYLE)}</style></head>
<body><main>
${head(record, title)}
${facts(record)}
${section(record.verdict === "undone" ? "What was to change" : "What changed", changes(record))}
${section("Timeline", timeline(record))}
${section("Charts", html`${chartsOf(record)}`)}
${record.stretches.length > 0 && section("Figures by stage", stretches(record))}
${section("Gates", gates(record))}
${section("Diagnostics before and after", looks(record))}
${foot(record)}
</main></body></html>
`.text;
}

function section(title: string, content: Markup): Markup {
  return html`<section><h2>${title}</h2>${content}</section>`;
}

function head(record: EvidenceRecord, title: string): Markup {
  const { verdict, reason, begunAt, endedAt, owner } = record;
  const took = endedAt === undefined ? "has not ended" : `took ${formatMilliseconds(endedAt - begunAt)}`;
  return html`<header class="${verdict}"><p class="verdict"><svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="${SIGNS[verdict]}"/></svg>${verdict.slice(0, 1).toUpperCase()}${verdict.slice(1)}</p>
<h1>${title}</h1><p class="lead">${verdictInWords(record)}.</p>${reason !== undefined && html`<p class="reason">${reason}</p>`}
<p class="soft lead">${formatTime(begunAt)} by ${owner.who}, ${took}</p></header>`;
}

function facts({ owner, program, agent, id, begunAt, endedAt }: EvidenceRecord): Markup {
  const git = program?.git;
  const rows: [string, Markup | string | undefined][] = [
    ["Who", `${owner.who}, process ${owner.pid}`],
    ["When", `${formatTime(begunAt)}${endedAt === undefined ? "" : ` to ${formatTime(endedAt)}`}`],
    ["Stack", program?.stack && `${program.project ?? ""}/${program.stack}`],
    ["Resource", program?.name && `${program.name} (${program.type ?? ""})`],
    [
      "Git revision",
      git &&
        html`<code>${git.revision}</code>${git.branch !== undefined && ` on ${git.branch}`}${git.dirty === true && ", with uncommitted changes"}`,
    ],
    ["Agent", `${agent.host}, version ${agent.version}`],
    ["Change", program?.group && html`<code>${program.group}</code>: this agent's part of it`],
    ["Transaction", html`<code>${id}</code>`],
    ["URN", html`<code>${owner.why}</code>`],
  ];
  return html`<section><h2>Facts</h2><dl>${rows.map(([name, value]) => value !== undefined && value !== "" && html`<dt>${name}</dt><dd>${value}</dd>`)}</dl></section>`;
}

function changes({ changes: all, verdict }: EvidenceRecord): Markup {
  if (all.length === 0)
    return html`<p class="soft">Nothing of what is declared was changed, or the change was not reached.</p>`;
  return changeTable(all, ["Declared", "Before", verdict === "undone" ? "With the change" : "After"]);
}

function changeTable(all: readonly Change[], [path, from, to]: [string, string, string]): Markup {
  const cell = (value: string | null, kind: string) =>
    value === null
      ? html`<td class="soft">\u2013</td>`
      : html`<td class="value"><span class="${kind}">${value}</span></td>`;
  return html`<div class="scroll"><table class="changes"><thead><tr><th scope="col">${path}</th><th scope="col">${from}</th><th scope="col">${to}</th></tr></thead><tbody>${all.map(
    (change) => html`<tr><td class="path">${change.path}</td>${cell(change.from, "old")}${cell(change.to, "new")}</tr>`,
  )}</tbody></table></div>`;
}

function timeline({ marks, begunAt, verdict }: EvidenceRecord): Markup {
  const sorted = marks.toSorted((a, b) => a.at - b.at);
  const list = (some: typeof sorted) =>
    html`<ol class="timeline">${some.map(
      ({ at, kind, text }) =>
        html`<li><time datetime="${new Date(at).toISOString()}">${formatOffset(at - begunAt)}</time><span><span class="tag ${kind} ${verdict}">${kind}</span></span><span class="text">${text}</span></li>`,
    )}</ol>`;
  if (sorted.length <= SHOWN_MARKS) return list(sorted);
  const half = SHOWN_MARKS / 2;
  return html`${list(sorted.slice(0, half))}<details><summary>${sorted.length - SHOWN_MARKS} more</summary>${list(sorted.slice(half, -half))}</details>${list(sorted.slice(-half))}`;
}

function stretches({ stretches: all, sides }: EvidenceRecord): Markup {
  const label = (role: string) => {
    const side = sides.find((each) => each.role === role)?.label ?? "";
    return role === "all" ? side : `${role}: ${side}`;
  };
  const group = ({ title, from, to, figures }: EvidenceRecord["stretches"][number]) =>
    figures.map((each, index) => {
      const span = html`<th scope="rowgroup" rowspan="${figures.length}">${title} <span class="soft">${formatMilliseconds(to - from)}</span></th>`;
      return html`<tr>${index === 0 && span}<td>${label(each.role)}</td>${figureCells(each)}</tr>`;
    });
  return html`<div class="scroll"><table class="groups"><thead><tr><th scope="col">Time</th><th scope="col">Side</th>${FIGURE_HEADS}</tr></thead>${all.map((stretch) => html`<tbody>${group(stretch)}</tbody>`)}</table></div>`;
}

function gates({ gates: all, begunAt }: EvidenceRecord): Markup {
  if (all.length === 0) return html`<p class="soft">This change had no gates.</p>`;
  return html`<div class="scroll"><table class="gates"><thead><tr><th scope="col">Stage</th><th scope="col">Gate</th><th scope="col">Must hold</th><th scope="col">Measured last</th><th scope="col">Probes</th><th scope="col">Outcome</th></tr></thead><tbody>${all.map(
    (gate) =>
      html`<tr><td>${gate.stage}</td><th scope="row">${gate.gate}</th><td>${gate.limits.map((limit) => html`${limit}<br>`)}</td><td>${gate.measurements.at(-1)?.text ?? "\u2013"}</td><td>${probeCounts(gate)}</td><td><span class="tag ${gate.outcome}">${gate.outcome}</span></td></tr>${gate.outcome === "breach" && gate.reason !== undefined && html`<tr><td></td><td colspan="5"><strong>${gate.reason}</strong></td></tr>`}`,
  )}</tbody></table></div>${all.filter(({ measurements }) => measurements.length > 1).map((gate) => probes(gate, begunAt))}`;
}

function probeCounts({ probes: counts }: GateEvidence): string {
  const said = Object.entries(counts).flatMap(([verdict, count]) => (count === 0 ? [] : [`${count} ${verdict}`]));
  return said.join(", ") || "none";
}

function probes({ stage, gate, measurements }: GateEvidence, begunAt: number): Markup {
  const shown = measurements.slice(-SHOWN_PROBES);
  const which = shown.length === measurements.length ? "All kept probes" : `The last ${shown.length} probes`;
  return html`<details><summary>${which} of ${gate}, stage ${stage}</summary><div class="scroll"><table><thead><tr><th scope="col">When</th><th scope="col">Verdict</th><th scope="col">Measured</th></tr></thead><tbody>${shown.map(
    ({ at, verdict, text }) =>
      html`<tr><td>${formatOffset(at - begunAt)}</td><td><span class="tag ${verdict}">${verdict}</span></td><td>${text}</td></tr>`,
  )}</tbody></table></div></details>`;
}

function looks({ before, after, begunAt, splits, verdict }: EvidenceRecord): Markup {
  if (before === undefined || after === undefined)
    return html`<p class="soft">${verdict === "running" ? "The look afterwards comes with the end." : `There is no look ${before === undefined ? "before" : "after"} the change: the agent ended before it was written.`}</p>`;
  const different = differences(before.values, after.values);
  const same = Object.entries(before.values).filter(([path, value]) => after.values[path] === value);
  const firstStep = splits[1]?.at ?? Number.POSITIVE_INFINITY;
  return html`<p class="soft">Seen by the agent on its host at ${formatOffset(before.at - begunAt)} and ${formatOffset(after.at - begunAt)}${before.at > firstStep && ", the first one after the change had begun"}.</p>
${different.length === 0 ? html`<p class="lead">Nothing differs.</p>` : changeTable(different, ["Observed", "Before", "After"])}${notes(before, "before")}${notes(after, "after")}
${same.length > 0 && html`<details><summary>${same.length} observed values are the same</summary><div class="scroll"><table><tbody>${same.map(([path, value]) => html`<tr><td class="path">${path}</td><td class="value">${value}</td></tr>`)}</tbody></table></div></details>`}`;
}

function notes({ notes: all }: Look, when: string): Markup | false {
  return all.length > 0 && html`<p class="lead soft">Not seen ${when}: ${all.join("; ")}.</p>`;
}

function foot({ agent, dropped }: EvidenceRecord): Markup {
  const left = dropped === 0 ? "" : ` ${dropped} marks and probes were left out, since there were too many.`;
  return html`<footer>Written by Sluice's agent (version ${agent.version}) on ${agent.host}. All data of this page is in evidence.json beside it.${left} Times are in UTC, and latencies are times to the head of the answer, as HAProxy measured them. Values of environment variables are never shown.</footer>`;
}
