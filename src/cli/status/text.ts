import { type Cell, type Column, clip, type TextStyle, type Tone, table, toned, wrapped } from "../common/screen";
import { bytes, counted, span } from "../common/units";
import type { EdgeStatus, PoolStatus, ProcessStatus, StatusDocument, StatusProblem } from "./schema";

const INDENT = "  ";

/** One screen: problems first, then edges, routes, backends, and each pool with its processes. */
export function statusText(status: StatusDocument, style: TextStyle): string {
  const now = Date.parse(status.at);
  const sections = [
    [...outages(status, style), head(status, style, now)],
    problems(status, style),
    transactions(status, style, now),
    edges(status.edges, style),
    routes(status, style),
    backends(status, style),
    ...status.pools.map((pool) => poolLines(pool, style, now)),
  ].filter((lines) => lines.length > 0);
  const empty = status.edges.length + status.pools.length === 0 ? [["Nothing is declared on this agent yet."]] : [];
  return `${[...sections, ...empty].map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

/** Requests fail: nothing is worth saying before that. */
function outages({ problems: found }: StatusDocument, style: TextStyle): string[] {
  return found
    .filter(({ outage }) => outage)
    .flatMap((each) => problemLines(each, style.width).map((line) => toned(line, "bad", style)));
}

function problemLines({ subject, message }: StatusProblem, width: number): string[] {
  return wrapped(`${subject}: ${message}`, width, INDENT);
}

function head({ agent, where, problems: found, transactions }: StatusDocument, style: TextStyle, now: number): string {
  const changes = transactions.length === 0 ? "" : `, ${counted(transactions.length, "change")} under way`;
  const verdict: [string, Tone] =
    found.length === 0 ? [`all good${changes}`, "good"] : [counted(found.length, "problem"), "bad"];
  const facts = [`up ${span(now - Date.parse(agent.since))}`, `pid ${agent.pid}`, `sluice ${agent.version}`];
  const rest = clip(`  ${where}  ${facts.join("  ")}`, style.width - verdict[0].length);
  return toned(verdict[0], verdict[1], style) + toned(rest, "dim", style);
}

function problems({ problems: found }: StatusDocument, style: TextStyle): string[] {
  const others = found.filter(({ outage }) => !outage);
  if (others.length === 0) return [];
  const lines = others.flatMap((each) => problemLines(each, style.width - INDENT.length));
  return [toned("PROBLEMS", "bad", style), ...lines.map((line) => INDENT + line)];
}

function transactions({ transactions: open }: StatusDocument, style: TextStyle, now: number): string[] {
  if (open.length === 0) return [];
  const columns: Column[] = [
    { title: "UNDER WAY" },
    { title: "STATE" },
    { title: "FOR", align: "right" },
    { title: "BY", least: 10 },
  ];
  const rows = open.map(({ target, state, since, who, pid }): Cell[] => [
    target.replace("/", " "),
    { text: state, tone: "warn" },
    span(now - Date.parse(since)),
    `${who} (process ${pid})`,
  ]);
  return table(columns, rows, style);
}

function edges(all: EdgeStatus[], style: TextStyle): string[] {
  if (all.length === 0) return [];
  const columns: Column[] = [
    { title: "EDGE", least: 8 },
    { title: "HAPROXY" },
    { title: "CONFIG" },
    { title: "WORKER UP", align: "right", expendable: 2 },
    { title: "CLIENTS", align: "right" },
    { title: "OLD WORKERS", align: "right", expendable: 1 },
    { title: "FRONTENDS", least: 9 },
  ];
  const rows = all.map(
    ({ name, haproxy, version, config, workerUptimeSeconds, clients, oldWorkers, frontends }): Cell[] => [
      { text: name, tone: "strong" },
      { text: haproxy === "running" ? (version ?? haproxy) : haproxy, tone: haproxy === "running" ? "good" : "bad" },
      { text: config, tone: config === "as declared" ? "plain" : "bad" },
      workerUptimeSeconds === undefined ? "" : span(workerUptimeSeconds * 1000),
      haproxy === "running" ? String(clients) : "",
      oldWorkers === 0 ? "" : String(oldWorkers),
      {
        text: frontends.map((each) => (each.status === "open" ? each.name : `${each.name} ${each.status}`)).join(", "),
        tone: frontends.every((each) => each.status === "open") ? "plain" : "bad",
      },
    ],
  );
  return table(columns, rows, style);
}

function routes({ routes: all }: StatusDocument, style: TextStyle): string[] {
  if (all.length === 0) return [];
  const columns: Column[] = [
    { title: "ROUTE", least: 8 },
    { title: "STABLE", least: 8 },
    { title: "CANDIDATE", least: 8 },
    { title: "SHARE", align: "right" },
    { title: "STAGE", expendable: 1 },
    { title: "ON EDGES", least: 8 },
  ];
  const rows = all.map(({ name, stable, candidate, split, committed, stage = "", mirror, edges: on }): Cell[] => [
    { text: name, tone: "strong" },
    stable,
    candidate ?? "",
    candidate === undefined
      ? ""
      : { text: split === committed ? split : `${committed} > ${split}`, tone: split === committed ? "plain" : "warn" },
    mirror === undefined ? stage : `${stage} (${mirror.share} mirrored)`.trimStart(),
    {
      text: on
        .map((each) => (each.split === split ? each.edge : `${each.edge} ${each.split ?? "not running"}`))
        .join(", "),
      tone: on.every((each) => each.split === split) ? "plain" : "bad",
    },
  ]);
  return table(columns, rows, style);
}

function backends({ backends: all }: StatusDocument, style: TextStyle): string[] {
  if (all.length === 0) return [];
  const columns: Column[] = [
    { title: "BACKEND", least: 8 },
    { title: "EDGE", least: 6 },
    { title: "SERVER", least: 8 },
    { title: "ADDRESS", least: 12 },
    { title: "STATE" },
    { title: "WEIGHT", align: "right" },
  ];
  const rows = all.flatMap(({ name, edge, servers }) =>
    servers.map(({ name: server, address, state, weight }, index): Cell[] => [
      { text: index === 0 ? name : "", tone: "strong" },
      index === 0 ? edge : "",
      server,
      address,
      { text: state, tone: state === "ready" ? "plain" : state === "missing" ? "bad" : "warn" },
      String(weight),
    ]),
  );
  return table(columns, rows, style);
}

const PROCESS_COLUMNS: Column[] = [
  { title: "PROCESS", least: 10 },
  { title: "STATE" },
  { title: "RELEASE", least: 7, expendable: 2 },
  { title: "UP", align: "right" },
  { title: "RESTARTS", align: "right" },
  { title: "MEMORY", align: "right" },
  { title: "HEALTH" },
  { title: "CONNS", align: "right", expendable: 4 },
  { title: "PORT", align: "right", expendable: 5 },
  { title: "PID", align: "right", expendable: 3 },
  { title: "LAST REASON", least: 6 },
];

function poolLines(pool: PoolStatus, style: TextStyle, now: number): string[] {
  const { name, edge, release, retained, processes } = pool;
  const kept = retained.map((each) => `${each.release} (${span(now - Date.parse(each.retiredAt))})`);
  const facts = `${edge === undefined ? " in place" : ` on ${edge}`}, release ${release || "none yet"}${kept.length === 0 ? "" : `, kept: ${kept.join(", ")}`}`;
  const title =
    toned("POOL ", "dim", style) + toned(name, "strong", style) + clip(facts, style.width - 5 - name.length);
  const all = processes.every((each) => each.release === release);
  const rows = processes.map((process): Cell[] => [
    { text: process.key, tone: process.current ? "plain" : "dim" },
    { text: process.state, tone: stateTone(process) },
    all ? "" : { text: process.release, tone: process.current ? "plain" : "dim" },
    process.startedAt === undefined ? "" : span(now - Date.parse(process.startedAt)),
    { text: String(process.restarts), tone: process.restarts === 0 ? "dim" : "warn" },
    process.memoryBytes === undefined ? "" : bytes(process.memoryBytes),
    { text: process.health ?? "", tone: process.health === "healthy" ? "good" : "warn" },
    process.sessions === undefined ? "" : String(process.sessions),
    process.port === undefined ? "" : String(process.port),
    process.pid === undefined ? "" : String(process.pid),
    { text: reasonOf(process), tone: "dim" },
  ]);
  return [title, ...trialLines(pool, style, now), ...table(PROCESS_COLUMNS, rows, style, INDENT)];
}

/** The candidate beside the release that serves, or why it was withdrawn. */
function trialLines({ candidate, withdrawn }: PoolStatus, style: TextStyle, now: number): string[] {
  const lines: string[] = [];
  if (candidate !== undefined) {
    const { release, split, committed } = candidate;
    const share = split === committed ? split : `${committed} > ${split}`;
    lines.push(clip(`${INDENT}candidate ${release}, ${share} of the requests`, style.width));
  }
  if (withdrawn !== undefined) {
    const { release, at, why } = withdrawn;
    const message = `candidate ${release} was withdrawn ${span(now - Date.parse(at))} ago: ${why}`;
    const room = style.width - INDENT.length;
    lines.push(...wrapped(message, room, INDENT).map((line) => toned(INDENT + line, "warn", style)));
  }
  return lines;
}

/** Why it is in its state; of one that ended by itself, how. */
function reasonOf({ reason = "", lastExit, state }: ProcessStatus): string {
  const ended = reason === "crash" || state === "backoff" || state === "failed";
  return ended && lastExit !== undefined ? `${reason} (${lastExit})` : reason;
}

function stateTone({ state, current }: ProcessStatus): Tone {
  if (state === "running") return current ? "good" : "dim";
  return state === "failed" || state === "backoff" || state === "stopped" ? "bad" : "warn";
}
