import { readFile, stat, statfs } from "node:fs/promises";
import { connect } from "node:net";
import { portsPerRelease } from "../../model/pool/pool-ports";
import { processText, titleOf } from "../../model/process/takeover";
import type { Check } from "../../model/protocol/recovery";
import { certificatesOf } from "../haproxy/config/certificates";
import { connectionsWithin, hostFacts } from "../haproxy/config/host-facts";
import { holderOf } from "../haproxy/config/ports";
import { findHaproxy, haproxyVersion } from "../haproxy/config/version";
import type { Host } from "../host/host";
import { poolInstances } from "../state/desired";
import { observed } from "../support/observed";
import { asNamed, comesBack } from "../takeover/existing-processes";
import { showUnit } from "../takeover/systemd";
import { checkNode } from "./node";
import { type RecoverySource, unrecovered } from "./recovery";

const MIB = 1024 * 1024;
/** Free space of the state folder's disk below which it is a warning, and a problem, in bytes. */
const DISK_WARNING = 1024 * MIB;
const DISK_PROBLEM = 100 * MIB;
/** Change of the clock since the agent's start that is worth a word, in milliseconds. */
const CLOCK_STEP_MS = 2000;
const CONNECT_MS = 2000;
/** Time before a certificate's end that is worth a word, in milliseconds. */
const EXPIRES_SOON_MS = 14 * 24 * 3_600_000;

export interface DoctorSource {
  host: Host;
  recovery: RecoverySource;
  /** The agent's state folder. */
  directory: string;
  /** Problems of the folder now. */
  folderProblems: () => Promise<string[]>;
}

/** Looks at everything on the host that the agent depends on. */
export async function examine(source: DoctorSource): Promise<Check[]> {
  const checks: [name: string, look: () => Promise<Check[]>][] = [
    ["haproxy", haproxy],
    ["runtime API", () => runtimeApi(source)],
    ["certificates", () => certificates(source)],
    ["node", async () => [await checkNode()]],
    ["state", () => state(source)],
    ["disk", () => disk(source.directory)],
    ["clock", () => clock(source)],
    ["limits", () => limits(source)],
    ["cgroups", async () => [await cgroups(source)]],
    ["ports", () => ports(source)],
    ["orphans", () => orphans(source)],
    ["takeover", () => takeover(source)],
  ];
  const found = await Promise.all(
    checks.map(async ([name, inspect]) => {
      try {
        return await observed(inspect(), "the host");
      } catch (error) {
        return [problem(name, `could not be checked: ${(error as Error).message}`)];
      }
    }),
  );
  return found.flat();
}

const good = (name: string, message: string): Check => ({ name, verdict: "good", message });
const warning = (name: string, message: string): Check => ({ name, verdict: "warning", message });
const problem = (name: string, message: string): Check => ({ name, verdict: "problem", message });

async function haproxy(): Promise<Check[]> {
  const binary = findHaproxy();
  try {
    return [good("haproxy", `${binary} is HAProxy ${(await haproxyVersion(binary)).text}`)];
  } catch (error) {
    return [problem("haproxy", (error as Error).message)];
  }
}

/** Asks each HAProxy, by which alone it can be changed. */
async function runtimeApi({ host }: DoctorSource): Promise<Check[]> {
  const edges = Object.keys(host.working().edges);
  const found = await Promise.all(
    edges.map(async (edge): Promise<Check[]> => {
      if (!host.haproxy(edge).runs()) return [problem("runtime API", `HAProxy of edge ${edge} does not run`)];
      try {
        await host.haproxy(edge).totals();
        return [];
      } catch (error) {
        return [problem("runtime API", (error as Error).message)];
      }
    }),
  );
  if (found.flat().length > 0 || edges.length === 0) return found.flat();
  return [good("runtime API", `HAProxy answers on it (edge ${edges.join(", ")})`)];
}

/** Certificates that expire soon; those that have, or can't be read, are problems of their edges. */
async function certificates({ host }: DoctorSource): Promise<Check[]> {
  const now = new Date();
  const edges = Object.entries(host.working().edges);
  const all = await Promise.all(
    edges.map(async ([edge, spec]) => (await certificatesOf(spec, now)).map((each) => ({ ...each, edge }))),
  );
  const valid = all.flat().filter((each) => each.problem === undefined);
  const soon = valid.filter(({ until = now }) => until.getTime() < now.getTime() + EXPIRES_SOON_MS);
  if (soon.length > 0)
    return soon.map(({ edge, path, until = now }) =>
      warning(
        "certificates",
        `${path} of edge ${edge} expires on ${until.toISOString()}: renew it, then run pulumi up`,
      ),
    );
  return valid.length === 0 ? [] : [good("certificates", `${valid.length} are good for two weeks or longer`)];
}

async function state({ directory, folderProblems }: DoctorSource): Promise<Check[]> {
  const { uid, mode } = await stat(directory);
  const checks: Check[] = [];
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0)
    checks.push(
      problem(
        "state",
        `${directory} belongs to user ${uid} and has mode ${(mode & 0o7777).toString(8)}: chmod 0700 it, and let it belong to the agent's user`,
      ),
    );
  checks.push(...(await folderProblems()).map((message) => problem("state", message)));
  return checks.length > 0
    ? checks
    : [good("state", `${directory} is private, and both copies of the state are there`)];
}

async function disk(directory: string): Promise<Check[]> {
  const { bavail, bsize, files, ffree } = await statfs(directory);
  const free = bavail * bsize;
  const text = `${Math.round(free / MIB)} MiB are free where ${directory} is`;
  if (files > 0 && ffree / files < 0.01)
    return [problem("disk", `less than 1% of the inodes are free where ${directory} is: remove small files there`)];
  if (free < DISK_PROBLEM)
    return [problem("disk", `only ${text}: make room, since promotions are refused on a full disk`)];
  return [free < DISK_WARNING ? warning("disk", `only ${text}`) : good("disk", text)];
}

async function clock({ host }: DoctorSource): Promise<Check[]> {
  const last = host.committed.transactions.at(-1)?.at;
  if (last !== undefined && Date.parse(last) > Date.now() + CLOCK_STEP_MS)
    return [problem("clock", `the last commit is of ${last}, which is in the future: the clock was set back`)];
  const stepped = Date.now() - (performance.timeOrigin + performance.now());
  if (Math.abs(stepped) > CLOCK_STEP_MS)
    return [
      warning(
        "clock",
        `the clock was changed by ${Math.round(stepped / 1000)} s since the agent's start: let a time service keep it`,
      ),
    ];
  return [good("clock", "it has run evenly since the agent's start")];
}

async function limits({ host }: DoctorSource): Promise<Check[]> {
  const facts = await hostFacts();
  const short = Object.entries(host.working().edges).flatMap(([edge, spec]) => {
    const possible = connectionsWithin(spec.maxConnections, facts);
    return possible < spec.maxConnections
      ? [
          warning(
            "limits",
            `edge ${edge} can have ${possible} of its ${spec.maxConnections} connections: raise the limit of open files (now ${facts.maxOpenFiles})`,
          ),
        ]
      : [];
  });
  return short.length > 0
    ? short
    : [good("limits", `${facts.maxOpenFiles ?? "any number of"} open files suffice for every edge`)];
}

/** Whether a stop reaches all that a process has started. */
async function cgroups({ recovery }: DoctorSource): Promise<Check> {
  const reason = await recovery.processes.trackingProblem();
  return reason === undefined
    ? good("cgroups", "each process of a pool has one, so that its stop ends all that it has started")
    : warning(
        "cgroups",
        `a program that goes into a session of its own and clears its environment outlives its process's stop: ${reason}`,
      );
}

async function ports({ host }: DoctorSource): Promise<Check[]> {
  const { edges, pools } = host.working();
  const listeners = Object.entries(edges).flatMap(([edge, { frontends }]) =>
    Object.values(frontends).flatMap(({ binds }) => binds.map(({ address, port }) => ({ edge, address, port }))),
  );
  const closed = await Promise.all(
    listeners.map(async ({ edge, address, port }) => {
      if (await accepts(address, port)) return [];
      const holder = await holderOf(port);
      return [
        problem(
          "ports",
          `nobody answers on ${address}:${port}, where edge ${edge} should${holder === undefined ? "" : ` (${holder} has the port)`}: see sluice events --edge ${edge}`,
        ),
      ];
    }),
  );
  const [first = 0, last = 0] = (await readFile("/proc/sys/net/ipv4/ip_local_port_range", "latin1"))
    .split(/\s+/)
    .map(Number);
  const shared = Object.entries(pools).flatMap(([pool, { settings }]) =>
    settings.ports.from <= last && first <= settings.ports.to
      ? [
          warning(
            "ports",
            `the range ${settings.ports.from}-${settings.ports.to} of pool ${pool} is among the ports that this host gives to clients (${first}-${last}): any connection may take one of them; use another range, or reserve it in net.ipv4.ip_local_reserved_ports`,
          ),
        ]
      : [],
  );
  const narrow = Object.entries(pools).flatMap(([pool, state]) => {
    const needed = state.current === undefined ? 0 : portsPerRelease(state.current.processes);
    const size = state.settings.ports.to - state.settings.ports.from + 1;
    return size < 2 * needed
      ? [
          warning(
            "ports",
            `the range of pool ${pool} has ${size} ports, but two releases side by side need ${2 * needed}: widen it`,
          ),
        ]
      : [];
  });
  const found = [...closed.flat(), ...shared, ...narrow];
  return found.length > 0
    ? found
    : [good("ports", `${listeners.length} of ${listeners.length} listeners accept connections`)];
}

function accepts(address: string, port: number): Promise<boolean> {
  const host = address === "0.0.0.0" ? "127.0.0.1" : address === "::" ? "::1" : address;
  return new Promise((resolve) => {
    const connection = connect({ host, port, timeout: CONNECT_MS });
    const end = (answer: boolean) => {
      connection.destroy();
      resolve(answer);
    };
    connection
      .once("connect", () => end(true))
      .once("timeout", () => end(false))
      .once("error", () => end(false));
  });
}

/** Checks targets that were taken over, and causes that would bring the former processes back. */
async function takeover({ host }: DoctorSource): Promise<Check[]> {
  const all = Object.entries(host.committed.takenOver).flatMap(([target, entries]) =>
    entries.map((entry) => ({ target, entry })),
  );
  const found = await Promise.all(
    all.map(async ({ target, entry }): Promise<Check[]> => {
      const [named] = await host.findExisting(target, [entry]);
      const running = (named?.processes ?? []).filter(({ follows }) => !follows);
      if (running.length > 0)
        return running.map((one) =>
          problem(
            "takeover",
            `${processText(asNamed(one))}, runs, although ${target} took ${titleOf(entry)} over: end it, or run pulumi up`,
          ),
        );
      const shown = entry.unit === undefined ? undefined : await showUnit(entry.unit);
      const advice = shown === undefined || "problem" in shown ? [] : comesBack(entry.unit ?? "", shown);
      return advice.map((each) => warning("takeover", each));
    }),
  );
  return all.length > 0 && found.flat().length === 0
    ? [good("takeover", `nothing of what was taken over runs (${all.map(({ entry }) => titleOf(entry)).join(", ")})`)]
    : found.flat();
}

async function orphans({ recovery, host }: DoctorSource): Promise<Check[]> {
  const items = await unrecovered(recovery);
  const wanted = Object.keys(host.working().pools).reduce(
    (sum, pool) => sum + poolInstances(host.working(), pool).length,
    0,
  );
  if (items.length === 0) return [good("orphans", `none beside the ${wanted} processes that are wanted`)];
  return items.map(({ kind, message }) =>
    kind === "half-dead" || kind === "pid-reused"
      ? warning("orphans", message)
      : problem("orphans", `${message}; see sluice recover`),
  );
}
