import { FIRST_UNPRIVILEGED_PORT, type ProcessTemplate } from "../process/process-template";
import { type PoolProblem, supervisionProblems } from "../process/supervision-problems";
import { templateProblems, templatesIn } from "../process/template";
import { quoteValue } from "../types/messages";
import { asObject, isObject } from "../types/objects";
import { hasPort, portsPerRelease } from "./pool-ports";

/** Of the environments of a pool's processes together, names and values: they are in every request about it, which has 1 MiB. */
const MAX_ENVIRONMENT_BYTES = 960 * 1024;

/** Names of environment variables by process whose values are secret. */
export type SecretNames = Record<string, readonly string[]>;

/**
 * A process as far as it is well formed. What is malformed (or not known yet) is `undefined`: its own schema says so, and
 * nothing here is concluded from it.
 */
interface Draft {
  policy: ProcessTemplate["policy"] | undefined;
  command: string | unknown[] | undefined;
  shell: boolean | undefined;
  cwd: string | undefined;
  env: Record<string, unknown>;
  replicas: number | undefined;
  port: ProcessTemplate["port"] | "unsure";
  health: Record<string, unknown> | "none" | undefined;
  raw: Record<string, unknown>;
}

interface Pool {
  processes: Record<string, Draft>;
  /** Processes that have a port, or could have one for all that is known. */
  ported: string[];
  /** Whether every process is here, and an object: else nothing can be said about all of them together. */
  complete: boolean;
  release: Record<string, unknown> | undefined;
  from: number | undefined;
  to: number | undefined;
  inPlace: boolean | undefined;
  /** Whether it names an edge. */
  edged: boolean;
}

/**
 * Problems of a pool across its properties, found even if single ones are malformed, so that all problems of an input
 * come at once.
 *
 * @param input the pool, of which any part may be anything
 * @param options.misnamed whether processes were left out of it since their names are malformed
 * @param options.secrets environment variables whose values are no templates
 */
export function poolProblems(
  input: unknown,
  { misnamed = false, secrets = {} }: { misnamed?: boolean; secrets?: SecretNames } = {},
): PoolProblem[] {
  const pool = draftPool(input, misnamed);
  return [
    ...(isObject(input) ? strategyProblems(pool) : []),
    ...proxiedProblems(pool),
    ...Object.entries(pool.processes).flatMap(([id, draft]) => [
      ...policyProblems(id, draft),
      ...supervisionProblems(id, draft.raw, secrets[id] ?? []),
      ...textProblems(id, draft, pool, secrets[id] ?? []),
    ]),
    ...environmentProblems(pool),
    ...rangeProblems(pool),
    ...fixedPortProblems(pool),
  ];
}

function draftPool(input: unknown, misnamed: boolean): Pool {
  const { processes, release, ports, strategy, edge } = asObject(input);
  const { from, to } = asObject(ports);
  const entries = Object.entries(asObject(processes));
  const drafts = entries.map(([id, value]) => [id, draftProcess(asObject(value))] as const);
  return {
    processes: Object.fromEntries(drafts),
    ported: drafts.flatMap(([id, draft]) => (mayHavePort(draft) ? [id] : [])),
    complete: !misnamed && isObject(processes) && entries.every(([, value]) => isObject(value)),
    release: isObject(release) ? release : undefined,
    from: integer(from),
    to: integer(to),
    inPlace: strategy === undefined || typeof strategy === "string" ? strategy === "in-place" : undefined,
    edged: edge !== undefined,
  };
}

function draftProcess(raw: Record<string, unknown>): Draft {
  const { policy, command, shell, cwd, env, replicas, port, health } = raw;
  return {
    raw,
    policy: POLICIES.find((known) => known === policy),
    command: typeof command === "string" || Array.isArray(command) ? command : undefined,
    shell: shell === undefined ? false : typeof shell === "boolean" ? shell : undefined,
    cwd: typeof cwd === "string" ? cwd : undefined,
    env: asObject(env),
    replicas: integer(replicas),
    port: port === undefined || typeof port === "boolean" || typeof port === "number" ? port : "unsure",
    health: health === undefined ? "none" : isObject(health) ? health : undefined,
  };
}

const POLICIES = ["proxied", "companion", "singleton", "service"] as const;

function integer(value: unknown): number | undefined {
  return Number.isInteger(value) ? (value as number) : undefined;
}

function strategyProblems({ inPlace, edged, processes }: Pool): PoolProblem[] {
  if (inPlace === undefined) return [];
  if (!inPlace)
    return edged
      ? []
      : [{ path: ["edge"], message: "is missing: name the edge that the pool serves, on the same agent" }];
  const problems = Object.entries(processes).flatMap(([id, { policy, replicas }]) =>
    policy === "proxied" && replicas !== undefined && replicas > 1
      ? [
          {
            path: ["processes", id, "replicas"],
            message: `${replicas} replicas in place: an edge knows one server per host, leave replicas out`,
          },
        ]
      : [],
  );
  if (!edged) return problems;
  const message =
    "has no meaning in place, where edges of any agent lead to the host: leave it out, and name them in serves";
  return [{ path: ["edge"], message }, ...problems];
}

function proxiedProblems({ processes, complete }: Pool): PoolProblem[] {
  const proxied = Object.keys(processes).filter((id) => processes[id]?.policy === "proxied");
  const unsure = !complete || Object.values(processes).some(({ policy }) => policy === undefined);
  if (proxied.length === 1 || (proxied.length === 0 && unsure)) return [];
  const found = proxied.length === 0 ? "none is" : `${proxied.join(" and ")} are`;
  return [
    {
      path: ["processes"],
      message: `exactly one process must be proxied, but ${found}: set policy: "proxied" on the one that takes the traffic`,
    },
  ];
}

function policyProblems(id: string, draft: Draft): PoolProblem[] {
  const { policy, command, shell, port, replicas, health } = draft;
  const at = (property: string, message: string): PoolProblem => ({ path: ["processes", id, property], message });
  const problems: PoolProblem[] = [];
  if (shell && Array.isArray(command))
    problems.push(at("shell", "shell: true goes with a command string: join the list, or leave shell out"));
  if (shell === false && typeof command === "string")
    problems.push(
      at("command", `${quoteValue(command)} is one string: write it as a list of arguments, or add shell: true`),
    );
  if (replicas !== undefined && replicas > 1 && policy === "singleton")
    problems.push(
      at("replicas", `${replicas} replicas of a singleton: there is only one of it per host, leave replicas out`),
    );
  if (replicas !== undefined && replicas > 1 && policy === "service" && typeof port === "number" && !draft.raw.handoff)
    problems.push(
      at("replicas", `${replicas} replicas of a service can't share port ${port}: leave out replicas, or the port`),
    );
  if (typeof port === "number" && policy !== undefined && policy !== "service")
    problems.push(
      at(
        "port",
        `${port} is a fixed port, which two releases side by side can't share: ${policy === "proxied" ? "leave port out" : "use port: true"}`,
      ),
    );
  if (port === true && policy === "service")
    problems.push(at("port", "a service keeps its port across releases: give its number"));
  if (port === false && policy === "proxied")
    problems.push(at("port", "a proxied process needs its port: leave port out"));
  if (policy === "proxied" && health === "none")
    problems.push(at("health", 'a proxied process must say how its health is known: add health: { path: "/healthz" }'));
  const probesPort = health !== "none" && (health?.path !== undefined || health?.tcp !== undefined);
  if (probesPort && !mayHavePort({ policy, port }))
    problems.push(at("health", "this health check needs a port: add port"));
  return problems;
}

/** Whether a process has a port, or could have one for all that is known. */
function mayHavePort({ policy, port }: Pick<Draft, "policy" | "port">): boolean {
  return policy === undefined || port === "unsure" || hasPort({ policy, port });
}

function textProblems(id: string, draft: Draft, { ported, release }: Pool, secrets: readonly string[]): PoolProblem[] {
  const known = {
    ported,
    hasPort: mayHavePort(draft),
    hasRevision: release === undefined || release.revision !== undefined,
  };
  const { command } = draft;
  const texts: { path: (string | number)[]; text: unknown }[] = [
    ...(Array.isArray(command)
      ? command.map((text, index) => ({ path: ["command", index], text }))
      : [{ path: ["command"], text: command }]),
    { path: ["cwd"], text: draft.cwd },
    ...commandsOf(draft).flatMap(({ path, command }) =>
      command.map((text, index) => ({ path: [...path, index], text })),
    ),
    ...Object.entries(draft.env)
      .filter(([key]) => !secrets.includes(key))
      .map(([key, text]) => ({ path: ["env", key], text })),
  ];
  const problems = texts.flatMap(({ path, text }) =>
    typeof text === "string" ? templateProblems(text, known).map((message) => ({ path, message })) : [],
  );
  return [...problems, ...shellProblems(draft, release ?? {})].map(({ path, message }) => ({
    path: ["processes", id, ...path],
    message,
  }));
}

/** The commands that run beside a process. */
function commandsOf({ raw }: Draft): { path: string[]; command: unknown[] }[] {
  const { quiet, drain, stop } = asObject(raw.lifecycle);
  return [
    { path: ["lifecycle", "quiet"], command: quiet },
    { path: ["lifecycle", "drain"], command: drain },
    { path: ["lifecycle", "stop"], command: stop },
    { path: ["health", "command"], command: asObject(raw.health).command },
  ].flatMap(({ path, command }) => (Array.isArray(command) ? [{ path, command }] : []));
}

/** Characters that a shell reads as themselves, without quotes. */
const SHELL_SAFE = /^[A-Za-z0-9@%_+=:,./-]*$/;

/** Facts of free text that a shell would split or run, such as a revision named `$(reboot)`. */
function shellProblems({ shell, command }: Draft, release: Record<string, unknown>): PoolProblem[] {
  if (!shell || typeof command !== "string") return [];
  const facts = [
    { template: "release.path", value: release.path, variable: "SLUICE_RELEASE_PATH" },
    { template: "release.revision", value: release.revision, variable: "SLUICE_REVISION" },
  ];
  const used = new Set(templatesIn(command));
  return facts
    .filter(({ template, value }) => used.has(template) && typeof value === "string" && !SHELL_SAFE.test(value))
    .map(({ template, value, variable }) => ({
      path: ["command"],
      message: `{{${template}}} is ${quoteValue(value)}, which the shell would split or run: write "$${variable}" instead, with the quotes`,
    }));
}

/** Problems that only the size limit of requests would catch. */
function environmentProblems({ processes }: Pool): PoolProblem[] {
  const sizes = Object.entries(processes).map(([id, { env }]): [string, number] => {
    const bytes = Object.entries(env).reduce((sum, [name, value]) => sum + bytesOf(name) + bytesOf(value), 0);
    return [id, bytes];
  });
  const total = sizes.reduce((sum, [, bytes]) => sum + bytes, 0);
  const [largest] = sizes.toSorted(([, one], [, other]) => other - one);
  if (total <= MAX_ENVIRONMENT_BYTES || largest === undefined) return [];
  const message = `has ${largest[1]} bytes, and the pool's environments ${total} in all, of which ${MAX_ENVIRONMENT_BYTES} can be: put what is large into a file of the release`;
  return [{ path: ["processes", largest[0], "env"], message }];
}

function bytesOf(text: unknown): number {
  return typeof text === "string" ? Buffer.byteLength(text) : 0;
}

function rangeProblems({ from, to, processes, inPlace }: Pool): PoolProblem[] {
  const problems: PoolProblem[] = [];
  if (from !== undefined && from < FIRST_UNPRIVILEGED_PORT)
    problems.push({
      path: ["ports", "from"],
      message: `${from} is a privileged port: start at ${FIRST_UNPRIVILEGED_PORT} or above`,
    });
  if (from === undefined || to === undefined) return problems;
  const range = `${from}-${to}`;
  if (from > to)
    return [...problems, { path: ["ports"], message: `${range} is upside down: "from" must not be above "to"` }];
  const counted = Object.entries(processes).flatMap(([id, { policy, port, replicas = 1 }]) =>
    policy === undefined || port === "unsure" ? [] : [[id, { policy, port, replicas }] as const],
  );
  const needed = (inPlace === false ? 2 : 1) * portsPerRelease(Object.fromEntries(counted));
  const size = to - from + 1;
  if (size < needed)
    problems.push({
      path: ["ports"],
      message: `${range} holds ${size} ${size === 1 ? "port" : "ports"}, but ${inPlace === false ? "two releases side by side need" : "a release needs"} ${needed}: widen the range`,
    });
  return problems;
}

/** Services' ports lie outside the range, and each belongs to one service. */
function fixedPortProblems({ from, to, processes }: Pool): PoolProblem[] {
  const owners = new Map<number, string>();
  return Object.entries(processes).flatMap(([id, { policy, port }]) => {
    if (typeof port !== "number" || policy !== "service") return [];
    const path = ["processes", id, "port"];
    const owner = owners.get(port);
    if (owner !== undefined) return [{ path, message: `${port} is also the port of ${owner}: use another port` }];
    owners.set(port, id);
    if (from === undefined || to === undefined || port < from || port > to) return [];
    const message = `${port} lies inside the pool's range ${from}-${to}: move the service's port out of it`;
    return [{ path, message }];
  });
}
