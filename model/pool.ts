import { z } from "zod";
import { urlPath } from "./backend";
import { duration } from "./duration";
import { absolutePath, hasControl, name, releaseId } from "./names";
import { templateProblems } from "./template";

/** Lowest port of a range: those below need privileges. */
export const FIRST_UNPRIVILEGED_PORT = 1024;

const text = z
  .string()
  .max(65_536)
  .refine((value) => !value.includes("\0"), "holds a NUL character: remove it");

const signal = z.enum(["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"]);

const health = z.strictObject({
  /** Path that answers 2xx when the process is ready. */
  path: urlPath,
  /** Time after the start until the first probe. @default "0 seconds" */
  startDelay: duration({ max: "1 hour" }).default("0 seconds"),
  /** Between two probes. @default "250 milliseconds" */
  interval: duration({ min: "10 milliseconds", max: "1 hour" }).default("250 milliseconds"),
  /** For one probe. @default "2 seconds" */
  timeout: duration({ min: "10 milliseconds", max: "5 minutes" }).default("2 seconds"),
  /** From the start until it must have answered well; else the release has failed. @default "1 minute" */
  deadline: duration({ min: "10 milliseconds", max: "1 hour" }).default("1 minute"),
});
export type Health = z.output<typeof health>;

const processTemplate = z.strictObject({
  /**
   * `proxied`: takes the edge's traffic (exactly one per pool); `companion`: per release, started before the proxied one;
   * `singleton`: at most one runs, the old stopped before the new started, after the switch; `service`: one per host, outlives releases.
   */
  policy: z.enum(["proxied", "companion", "singleton", "service"]),
  /** Program and arguments, with templates; or one string with `shell: true`. Change: new release. */
  command: z.union([z.array(text).min(1).max(256), text.min(1)]),
  /** Run the command string by `/bin/sh -c`. @default false */
  shell: z.boolean().default(false),
  /** Working folder, with templates. @default "{{release.path}}". Change: new release. */
  cwd: text.default("{{release.path}}"),
  /** Environment, with templates; secret values are kept out of every state, log and listing. Change: new release. */
  env: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "is not the name of an environment variable"), text)
    .default({}),
  /** Replicas, 1 to 64 (a singleton and a service have one). @default 1. Change: live. */
  replicas: z.int().min(1).max(64).default(1),
  /** `true`: a port from the pool's range (a proxied process always has one); a number: this port (services only). @default none */
  port: z.union([z.boolean(), z.int().min(FIRST_UNPRIVILEGED_PORT).max(65_535)]).optional(),
  /** HTTP health; required for a proxied process. Change: new release. */
  health: health.optional(),
  /** Signal that asks the process to stop. @default "SIGTERM". Change: live. */
  stopSignal: signal.default("SIGTERM"),
  /** Time from that signal until SIGKILL of its whole process group. @default "10 seconds". Change: live. */
  gracefulStop: duration({ max: "1 hour" }).default("10 seconds"),
});
export type ProcessTemplate = z.output<typeof processTemplate>;

export const release = z.strictObject({
  /** Id of the release, shown everywhere. */
  id: releaseId,
  /** Folder of the release on the host. */
  path: absolutePath,
  /** Revision of its source, for people. @default none */
  revision: z
    .string()
    .max(200)
    .refine((value) => !hasControl(value), "holds a control character: remove it")
    .optional(),
});
export type Release = z.output<typeof release>;

/** The processes of a release on a host and the backend that they serve: what a `Pool` resource declares. */
export const poolSpec = z
  .strictObject({
    /** Edge on the same agent whose backend, named as the pool, the proxied process serves. */
    edge: name,
    /** The release to run. Change: a promotion (or a rollback). */
    release,
    /** Ports for this pool's processes, both included; enough for two releases side by side. Change: live. */
    ports: z.strictObject({ from: z.int().min(1).max(65_535), to: z.int().min(1).max(65_535) }),
    /** Processes by name; exactly one is `proxied`. */
    processes: z.record(name, processTemplate),
    /** How a replica is chosen. @default "roundrobin". Change: hitless reload. */
    balance: z.enum(["roundrobin", "leastconn", "random"]).default("roundrobin"),
    /** Time that a release which leaves has to finish its requests and WebSockets. @default "1 minute". Change: live. */
    drainDeadline: duration({ max: "7 days" }).default("1 minute"),
    /** Old releases kept as targets for a rollback: how many, and for how long. Change: live. */
    retain: z
      .strictObject({
        count: z.int().min(0).max(100).default(5),
        age: duration({ max: "20 days" }).default("14 days"),
      })
      .prefault({}),
  })
  .superRefine((spec, context) => {
    for (const { path, message } of problemsOf(spec)) context.addIssue({ code: "custom", path, message });
  });
export type PoolSpec = z.output<typeof poolSpec>;
export type PoolInput = z.input<typeof poolSpec>;

interface Problem {
  path: (string | number)[];
  message: string;
}

type Spec = Omit<PoolSpec, never>;

function problemsOf(spec: Spec): Problem[] {
  return [
    ...proxiedProblems(spec),
    ...Object.entries(spec.processes).flatMap(([id, template]) => processProblems(id, template, spec)),
    ...portProblems(spec),
  ];
}

function proxiedProblems({ processes }: Spec): Problem[] {
  const proxied = Object.keys(processes).filter((id) => processes[id]?.policy === "proxied");
  if (proxied.length === 1) return [];
  const found = proxied.length === 0 ? "none is" : `${proxied.join(" and ")} are`;
  return [
    {
      path: ["processes"],
      message: `exactly one process must be proxied, but ${found}: set policy: "proxied" on the one that takes the traffic`,
    },
  ];
}

function processProblems(id: string, template: ProcessTemplate, spec: Spec): Problem[] {
  const at = (property: string, message: string): Problem => ({ path: ["processes", id, property], message });
  const { policy, command, shell, port, replicas } = template;
  const problems: Problem[] = [];
  if (shell && Array.isArray(command))
    problems.push(at("shell", "shell: true goes with a command string: join the list, or leave shell out"));
  if (!shell && !Array.isArray(command))
    problems.push(
      at("command", `${JSON.stringify(command)} is one string: write it as a list of arguments, or add shell: true`),
    );
  if (replicas > 1 && (policy === "singleton" || policy === "service"))
    problems.push(
      at("replicas", `${replicas} replicas of a ${policy}: there is only one of it per host, leave replicas out`),
    );
  if (typeof port === "number" && policy !== "service")
    problems.push(at("port", `${port} is a fixed port, which two releases side by side can't share: use port: true`));
  if (port === true && policy === "service")
    problems.push(at("port", "a service keeps its port across releases: give its number"));
  if (port === false && policy === "proxied")
    problems.push(at("port", "a proxied process needs its port: leave port out"));
  if (policy === "proxied" && template.health === undefined)
    problems.push(at("health", 'a proxied process must say how its health is known: add health: { path: "/healthz" }'));
  if (policy !== "proxied" && template.health !== undefined && !hasPort(template))
    problems.push(at("health", "an HTTP health check needs a port: add port"));
  return [...problems, ...templateFailures(id, template, spec)];
}

function templateFailures(id: string, template: ProcessTemplate, spec: Spec): Problem[] {
  const known = {
    ported: Object.keys(spec.processes).filter((other) => hasPort(spec.processes[other])),
    hasPort: hasPort(template),
    hasRevision: spec.release.revision !== undefined,
  };
  const texts: { path: (string | number)[]; text: string }[] = [
    ...(Array.isArray(template.command)
      ? template.command.map((text, index) => ({ path: ["command", index], text }))
      : [{ path: ["command"], text: template.command }]),
    { path: ["cwd"], text: template.cwd },
    ...Object.entries(template.env).map(([key, text]) => ({ path: ["env", key], text })),
  ];
  return texts.flatMap(({ path, text }) =>
    templateProblems(text, known).map((message) => ({ path: ["processes", id, ...path], message })),
  );
}

function portProblems(spec: Spec): Problem[] {
  const { from, to } = spec.ports;
  const range = `${from}-${to}`;
  if (from > to) return [{ path: ["ports"], message: `${range} is upside down: "from" must not be above "to"` }];
  if (from < FIRST_UNPRIVILEGED_PORT)
    return [
      {
        path: ["ports", "from"],
        message: `${from} is a privileged port: start at ${FIRST_UNPRIVILEGED_PORT} or above`,
      },
    ];
  const needed = 2 * portsPerRelease(spec.processes);
  const size = to - from + 1;
  const inside = Object.entries(spec.processes).filter(
    ([, { port }]) => typeof port === "number" && port >= from && port <= to,
  );
  return [
    ...(size < needed
      ? [
          {
            path: ["ports"],
            message: `${range} holds ${size} ports, but two releases side by side need ${needed}: widen the range`,
          },
        ]
      : []),
    ...inside.map(([id, { port }]) => ({
      path: ["processes", id, "port"],
      message: `${port} lies inside the pool's range ${range}: move the service's port out of it`,
    })),
  ];
}

/** Ports that one release takes from the pool's range. */
export function portsPerRelease(processes: Record<string, ProcessTemplate>): number {
  return Object.values(processes)
    .filter((template) => takesFromRange(template))
    .reduce((sum, { replicas }) => sum + replicas, 0);
}

/** Whether each replica of this process gets a port from the pool's range. */
export function takesFromRange({ policy, port }: ProcessTemplate): boolean {
  return policy === "proxied" || (policy !== "service" && port === true);
}

/** Whether a process has a port at all. */
export function hasPort(template: ProcessTemplate | undefined): boolean {
  return template !== undefined && (takesFromRange(template) || typeof template.port === "number");
}
