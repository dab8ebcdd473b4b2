import type { EvidenceRecord } from "../model/evidence/record";
import { chartsOf } from "./charts";
import { headOf, titleOf } from "./head";
import { html, Markup } from "./html";
import { changesOf, factsOf, gatesOf, snapshotsOf, stretchesOf, timelineOf } from "./sections";
import { STYLE } from "./style";

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/**
 * A transaction's page: HTML that needs nothing from anywhere, runs no script, and reads well on paper. All values are
 * escaped, whatever they hold.
 */
export function renderPage(record: EvidenceRecord): string {
  const title = `${record.verdict} \u00b7 ${titleOf(record)}`;
  return documentOf(title, record.agent.version, html`${bodyOf(record)}${footOf([record])}`);
}

/** A document of markup. */
export function documentOf(title: string, version: string, body: Markup): string {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${POLICY}"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="generator" content="Sluice ${version}"><meta name="referrer" content="no-referrer"><link rel="icon" href="data:,"><title>${title}</title><style>${new Markup(STYLE)}</style></head>
<body><main>
${body}
</main></body></html>
`.text;
}

/**
 * Everything about a transaction.
 *
 * @param prefix tells the ids of its charts from those of others on the same page
 * @param gatesElsewhere where its gates are shown already
 */
export function bodyOf(
  record: EvidenceRecord,
  { prefix = "", gatesElsewhere }: { prefix?: string; gatesElsewhere?: string | undefined } = {},
): Markup {
  const gates = gatesElsewhere === undefined ? gatesOf(record) : html`<p class="soft">${gatesElsewhere}</p>`;
  const charts = section("Charts", chartsOf(record, prefix));
  // Charts tell at a glance why a change was undone; without a measurement, the timeline does.
  const isMeasured = record.series.length > 0;
  return html`${headOf(record)}
${isMeasured && charts}
${record.stretches.length > 0 && section("Figures by stage", stretchesOf(record))}
${section(record.verdict === "undone" ? "What was to change" : "What changed", changesOf(record))}
${section("Gates", gates)}
${section("Timeline", timelineOf(record))}
${!isMeasured && charts}
${section("Diagnostics before and after", snapshotsOf(record))}
${section("Facts", factsOf(record))}
`;
}

function section(title: string, content: Markup): Markup {
  return html`<section><h2>${title}</h2>${content}</section>`;
}

export function footOf(records: readonly EvidenceRecord[]): Markup {
  const dropped = records.reduce((sum, record) => sum + record.dropped, 0);
  const left = dropped === 0 ? "" : ` ${dropped} marks and probes were left out, since there were too many.`;
  const writers = [...new Set(records.map(({ agent }) => `${agent.host} (version ${agent.version})`))];
  return html`<footer>Written by Sluice's agent on ${writers.join(", ")}. All data of this page is in evidence.json beside it.${left} Times are in UTC, and latencies are times to the head of the answer, as HAProxy measured them. Values of environment variables are never shown.</footer>`;
}
