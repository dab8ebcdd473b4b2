import type { ServerState } from "../../../model/edge/backend";
import { parseSplits, SPLITS_FILE } from "../config/routes";
import { ask } from "./runtime-api";

/** A server as a worker knows it. */
export interface ServerSnapshot {
  id: string;
  address: string;
  port: number;
  /** Administrative state. */
  state: ServerState;
  weight: number;
  /** As HAProxy shows it: `UP`, `DOWN`, `UP 1/3`, `DRAIN`, `MAINT`, `NOLB`, `no check`. */
  status: string;
  /** Last result of the health check, such as `L7OK`, `L4CON` or `INI`. */
  check: string;
  /** Whether its health check runs (or would, out of maintenance). */
  checked: boolean;
  /** Requests, WebSockets and other streams on it now. */
  sessions: number;
}

interface FrontendSnapshot {
  /** `OPEN`; `PAUSED` after `disable frontend`, `STOP` after `shutdown frontend`. */
  status: string;
  sessions: number;
}

/** A HAProxy worker, without what it serves. */
export interface WorkerInfo {
  pid: number;
  stopping: boolean;
  uptimeSeconds: number;
  /** Digest of the structure of the config that it runs. */
  structure: string;
}

/** State of one HAProxy worker at one moment. */
export interface WorkerSnapshot extends WorkerInfo {
  frontends: Map<string, FrontendSnapshot>;
  backends: Map<string, Map<string, ServerSnapshot>>;
  /** Splits in its map by their key, in 1/10,000; empty where its config has no route with a candidate. */
  splits: Map<string, number>;
}

/** Bits of `srv_admin_state` and `srv_check_state` in HAProxy's server state format, version 1. */
const MAINTENANCE = 0x01 | 0x02 | 0x20 | 0x40;
const DRAIN = 0x08 | 0x10;
const CHECK_CONFIGURED = 0x02;
const CHECK_ENABLED = 0x04;

/** The worker behind a socket, see {@link workerSnapshot}; far cheaper than a snapshot where there are many servers. */
export async function workerInfo(socket: string, prefix = ""): Promise<WorkerInfo> {
  const text = await ask(socket, `${prefix}show info`);
  if (!/^Pid: /m.test(text)) throw noStatus(text);
  return parseInfo(text);
}

/** Takes a snapshot of the worker behind a socket; through the master's socket an old worker is named by `prefix` (`@!123 `). */
export async function workerSnapshot(socket: string, prefix = ""): Promise<WorkerSnapshot> {
  // The master's socket gives its prefix to the first command of a line only.
  const commands = ["show info", "show stat", "show servers state", `show map ${SPLITS_FILE}`];
  const answers =
    prefix === ""
      ? [await ask(socket, commands.join("; "))]
      : await Promise.all(commands.map((c) => ask(socket, prefix + c)));
  return parseSnapshot(answers.join("\n"));
}

/** Reads the answers of `show info`, `show stat`, `show servers state` and `show map`, in this order. */
function parseSnapshot(text: string): WorkerSnapshot {
  const statAt = text.indexOf("# pxname,");
  const stateAt = text.indexOf("# be_id ");
  if (statAt < 0 || stateAt < statAt) throw noStatus(text);
  const { frontends, servers } = parseStat(text.slice(statAt, stateAt));
  return {
    ...parseInfo(text.slice(0, statAt)),
    frontends,
    backends: parseState(text.slice(stateAt), servers),
    splits: parseSplits(text.slice(stateAt)),
  };
}

function noStatus(text: string): Error {
  return new Error(
    `HAProxy gave no status but ${JSON.stringify(text.slice(0, 200))}: does its socket have level admin?`,
  );
}

/** Reads the answer of `show info`. */
function parseInfo(text: string): WorkerInfo {
  const info = new Map(
    text.split("\n").flatMap((line): [string, string][] => {
      const colon = line.indexOf(": ");
      return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 2)]];
    }),
  );
  return {
    pid: Number(info.get("Pid")),
    stopping: info.get("Stopping") === "1",
    uptimeSeconds: Number(info.get("Uptime_sec")),
    structure: info.get("description") ?? "",
  };
}

interface Row {
  sessions: number;
  status: string;
  check: string;
}

function parseStat(text: string): { frontends: Map<string, FrontendSnapshot>; servers: Map<string, Row> } {
  const [head = "", ...lines] = text.split("\n");
  const titles = head.slice(2).split(",");
  const column = (title: string) => titles.indexOf(title);
  const [proxy, server, sessions, status, check] = ["pxname", "svname", "scur", "status", "check_status"].map(column);
  const frontends = new Map<string, FrontendSnapshot>();
  const servers = new Map<string, Row>();
  for (const line of lines) {
    if (!line.includes(",")) continue;
    const cells = csv(line);
    const cell = (index: number | undefined) => cells[index ?? -1] ?? "";
    const row: Row = { sessions: Number(cell(sessions)), status: cell(status), check: cell(check).replace(/^\* /, "") };
    if (cell(server) === "FRONTEND") frontends.set(cell(proxy), { status: row.status, sessions: row.sessions });
    else if (cell(server) === "BACKEND") servers.set(`${cell(proxy)}/`, row);
    else servers.set(`${cell(proxy)}/${cell(server)}`, row);
  }
  return { frontends, servers };
}

function csv(line: string): string[] {
  if (!line.includes('"')) return line.split(",");
  return [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map(([, cell = ""]) =>
    cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell,
  );
}

function parseState(text: string, rows: ReadonlyMap<string, Row>): Map<string, Map<string, ServerSnapshot>> {
  const [head = "", ...lines] = text.split("\n");
  const titles = head.slice(2).split(" ");
  const backends = new Map<string, Map<string, ServerSnapshot>>();
  for (const key of rows.keys()) if (key.endsWith("/")) backends.set(key.slice(0, -1), new Map());
  for (const line of lines) {
    const cells = line.split(" ");
    if (cells.length < titles.length) continue;
    const cell = (title: string) => cells[titles.indexOf(title)] ?? "";
    const backend = cell("be_name");
    const id = cell("srv_name");
    const row = rows.get(`${backend}/${id}`);
    const admin = Number(cell("srv_admin_state"));
    const checks = Number(cell("srv_check_state"));
    backends.get(backend)?.set(id, {
      id,
      address: cell("srv_addr"),
      port: Number(cell("srv_port")),
      state: (admin & MAINTENANCE) !== 0 ? "maint" : (admin & DRAIN) !== 0 ? "drain" : "ready",
      weight: Number(cell("srv_uweight")),
      status: row?.status ?? "",
      check: row?.check ?? "",
      checked: (checks & CHECK_CONFIGURED) === 0 || (checks & CHECK_ENABLED) !== 0,
      sessions: row?.sessions ?? 0,
    });
  }
  return backends;
}
