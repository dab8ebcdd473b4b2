import { createHistogram } from "node:perf_hooks";

/** Kinds of load: paced GETs and POSTs, slow responses, WebSockets, event streams. */
export type Kind = "get" | "post" | "slow" | "websocket" | "stream";

interface Failure {
  /** When it was noticed, ISO 8601. */
  time: string;
  kind: Kind;
  error: string;
}

/** Result of the load; every number counts from its start. Durations in ms, instants in ms since the epoch. */
export interface LoadReport {
  startedAt: number;
  /** When the last piece finished; when this report was taken, while `running`. */
  endedAt: number;
  running: boolean;
  /** Finished GETs, POSTs and slow requests, failed ones included. */
  requests: number;
  /** Requests without their complete and right answer of status 200. */
  failed: number;
  /** Of the failed GETs and POSTs, those with a whole answer of another status, per version. */
  badAnswers: Record<string, number>;
  /** GETs, POSTs and slow requests that were sent. An edge that lost none of them has counted all but the `reopened` ones. */
  sent: number;
  /** GETs sent again, once, because the server had closed their idle connection; see `exchange.ts`. Not in `failed`. */
  reopened: number;
  /** TCP connections opened for requests. More than the mix has: the server closed some in between. */
  connections: number;
  websockets: number;
  /** WebSockets that did not open, were closed by the other side, or missed an echo. */
  websocketsCut: number;
  streams: number;
  /** Event streams that did not open, ended early, or had a wrong sequence number. */
  streamsCut: number;
  /** Of the GETs and POSTs that succeeded, from the *intended* time of sending to the last byte. 0 without any. */
  latency: { p50: number; p95: number; p99: number; max: number };
  /** Answered GETs and POSTs per version (header `x-release`; "?" without it), and when its answers' heads arrived. */
  byVersion: Record<string, number>;
  firstSeen: Record<string, number>;
  lastSeen: Record<string, number>;
  /** The first 20 of all kinds. */
  failures: Failure[];
}

const MAX_FAILURE_SAMPLES = 20;

/** Collects outcomes, in constant memory. */
export class Recorder {
  private readonly latencyMicros = createHistogram({ figures: 3 });
  private readonly report: LoadReport = {
    startedAt: Date.now(),
    endedAt: 0,
    running: true,
    requests: 0,
    failed: 0,
    badAnswers: {},
    sent: 0,
    reopened: 0,
    connections: 0,
    websockets: 0,
    websocketsCut: 0,
    streams: 0,
    streamsCut: 0,
    latency: { p50: 0, p95: 0, p99: 0, max: 0 },
    byVersion: {},
    firstSeen: {},
    lastSeen: {},
    failures: [],
  };

  connected(): void {
    this.report.connections++;
  }

  sent(): number {
    return ++this.report.sent;
  }

  reopened(): void {
    this.report.reopened++;
  }

  /** An attempt of this kind has ended; `error` says why it failed. */
  ended(kind: Kind, error?: Error): void {
    const { report } = this;
    const bad = error ? 1 : 0;
    if (kind === "websocket") {
      report.websockets++;
      report.websocketsCut += bad;
    } else if (kind === "stream") {
      report.streams++;
      report.streamsCut += bad;
    } else {
      report.requests++;
      report.failed += bad;
    }
    if (error && report.failures.length < MAX_FAILURE_SAMPLES) {
      report.failures.push({ time: new Date().toISOString(), kind, error: error.message });
    }
  }

  latency(ms: number): void {
    this.latencyMicros.record(Math.max(1, Math.round(ms * 1000)));
  }

  served(version: string, at: number, status: number): void {
    const { byVersion, badAnswers, firstSeen, lastSeen } = this.report;
    if (status !== 200) badAnswers[version] = (badAnswers[version] ?? 0) + 1;
    byVersion[version] = (byVersion[version] ?? 0) + 1;
    firstSeen[version] = Math.min(firstSeen[version] ?? at, at);
    lastSeen[version] = Math.max(lastSeen[version] ?? at, at);
  }

  /** A copy of the numbers so far. */
  snapshot(running: boolean): LoadReport {
    const measured = this.latencyMicros.count > 0;
    const ms = (micros: number): number => (measured ? Math.round(micros) / 1000 : 0);
    return structuredClone({
      ...this.report,
      endedAt: Date.now(),
      running,
      latency: {
        p50: ms(this.latencyMicros.percentile(50)),
        p95: ms(this.latencyMicros.percentile(95)),
        p99: ms(this.latencyMicros.percentile(99)),
        max: ms(this.latencyMicros.max),
      },
    });
  }
}

/** The report in one line, for people. */
export function summarize(report: LoadReport): string {
  const { latency } = report;
  const versions = Object.entries(report.byVersion).map(([version, count]) => `${version} ${count}`);
  return [
    `${report.requests} requests (${versions.join(", ")}), ${report.failed} failed, ${report.reopened} reopened`,
    `${report.websockets} WebSockets, ${report.websocketsCut} cut`,
    `${report.streams} streams, ${report.streamsCut} cut`,
    `p50 ${latency.p50} ms, p99 ${latency.p99} ms, max ${latency.max} ms`,
  ].join("; ");
}
