import type {
  AgentStatus,
  BackendObservation,
  EdgeAnswer,
  NotObserved,
  PoolObservation,
  RouteAnswer,
} from "../../agent/api";
import { formatSplit } from "../../model/split";
import { TAKEN_OVER, WAITING } from "../../model/takeover";
import { counted, span } from "../common/units";
import { exitText } from "./exit-text";
import { observed } from "./observed";
import type { Problem } from "./schema";

/** Everything on an agent that is not as it should be, what cuts traffic first. */
export function problemsOf({ agent, edges, pools, backends, routes, transactions }: AgentStatus, now: Date): Problem[] {
  const changing = new Set<string>(transactions.map(({ target }) => target));
  const all: [kind: string, answers: Record<string, { name: string } | NotObserved<unknown>>][] = [
    ["edge", edges],
    ["pool", pools],
    ["route", routes],
    ["backend", backends],
  ];
  return [
    ...all.flatMap(([kind, answers]) => unseen(kind, answers)),
    ...observed(edges).flatMap(edgeProblems),
    ...observed(pools).flatMap((pool) => poolProblems(pool, changing.has(`pool/${pool.name}`), now)),
    ...observed(backends).flatMap(backendProblems),
    ...observed(routes).flatMap((route) => (changing.has(`route/${route.name}`) ? [] : routeProblems(route))),
    ...transactions.flatMap(({ target, state, reason, delay }) =>
      state === "undoing"
        ? [
            {
              subject: target.replace("/", " "),
              message: `is being undone (${reason ?? "no reason is known"})${delay === undefined ? "" : `: ${delay}`}`,
            },
          ]
        : [],
    ),
    ...agent.notes.map((note) => ({ subject: "agent", message: note })),
    ...(agent.guarded
      ? []
      : [
          {
            subject: "agent",
            message: "nothing restarts it when it dies: run pulumi up, or run it by systemd (sluice agent install)",
          },
        ]),
  ];
}

function unseen(kind: string, all: Record<string, { name: string } | NotObserved<unknown>>): Problem[] {
  return Object.entries(all).flatMap(([name, each]) =>
    "error" in each
      ? [
          {
            subject: `${kind} ${name}`,
            message: `can't be ${each.known === undefined ? "" : "wholly "}looked at: ${each.error}`,
          },
        ]
      : [],
  );
}

function edgeProblems({ name, live }: EdgeAnswer): Problem[] {
  const subject = `edge ${name}`;
  if (live.haproxy !== "running")
    return [{ subject, message: "its HAProxy does not run: the agent tries to start it, see sluice events" }];
  const config: Problem[] =
    live.config === "as declared"
      ? []
      : [{ subject, message: `its config is ${live.config}: pulumi up puts the declared one back` }];
  const closed = Object.entries(live.frontends).flatMap(([frontend, status]) => {
    if (status === "open") return [];
    const remedy = status === WAITING ? "it listens with its first good release" : "pulumi up opens it";
    return [{ subject, message: `its frontend ${frontend} is ${status}: ${remedy}` }];
  });
  return [...config, ...closed, ...oldWorld(subject, live.takeover)];
}

/** What should have been taken over from the world before Sluice, and runs. */
function oldWorld(subject: string, takeover: Record<string, string> = {}): Problem[] {
  return Object.entries(takeover).flatMap(([title, now]) =>
    now === TAKEN_OVER ? [] : [{ subject, message: `${title} is not taken over: ${now}` }],
  );
}

function poolProblems({ name, live, processes }: PoolObservation, changing: boolean, now: Date): Problem[] {
  const bad = processes.flatMap((process): Problem[] => {
    const { key, release, current, state, startedAt } = process;
    const subject = `${key} of pool ${name}`;
    if (process.startsFrom !== undefined)
      return [{ subject, message: `is down (${state}): ${process.startsFrom}'s template starts it` }];
    if (state === "failed")
      return [
        {
          subject,
          message: `has failed (release ${release}, ${endOf(process)}): sluice restart or a deployment revives it`,
        },
      ];
    if (state === "backoff")
      return [{ subject, message: `waits to be started again (release ${release}, ${endOf(process)})` }];
    if (process.health === "unhealthy" && current) return [{ subject, message: `is unhealthy (release ${release})` }];
    if (current && state === "stopped" && !changing) return [{ subject, message: `does not run (release ${release})` }];
    if (!current && state === "running" && !changing)
      return [
        {
          subject,
          message: `is of release ${release}, which does not serve${startedAt === undefined ? "" : `, and runs for ${span(now.getTime() - Date.parse(startedAt))}`}`,
        },
      ];
    return [];
  });
  const told = new Set(bad.map(({ subject }) => subject));
  const missing = Object.entries(live.processes).flatMap(([key, state]): Problem[] => {
    const subject = `${key} of pool ${name}`;
    return state === "missing" && !told.has(subject) && !changing
      ? [{ subject, message: "is not there: pulumi up starts it" }]
      : [];
  });
  const servers = changing
    ? []
    : Object.entries(live.servers).flatMap(([key, { state, weight }]): Problem[] => {
        const subject = `${key} of pool ${name}`;
        if (state === "missing") return [{ subject, message: "HAProxy has no server for it: pulumi up adds it" }];
        if (state !== "ready")
          return [{ subject, message: `its server in HAProxy is in ${state}: pulumi up makes it ready` }];
        return weight === 0
          ? [{ subject, message: "its server in HAProxy has weight 0: pulumi up gives it back its weight" }]
          : [];
      });
  return [...bad, ...missing, ...servers, ...(changing ? [] : oldWorld(`pool ${name}`, live.takeover))];
}

/** How often a process was restarted, and how it ended last. */
function endOf({ restarts, restartsInWindow, maxRestarts, lastExit }: PoolObservation["processes"][number]): string {
  const times =
    maxRestarts === undefined
      ? counted(restarts, "restart")
      : `${restartsInWindow} of ${counted(maxRestarts, "restart")} in its window`;
  return lastExit === undefined ? times : `${times}, last ended by ${exitText(lastExit)}`;
}

function backendProblems({ name, edge, live }: BackendObservation): Problem[] {
  return Object.entries(live.servers).flatMap(([server, { state }]) =>
    state === "missing"
      ? [
          {
            subject: `backend ${name} of edge ${edge}`,
            message: `server ${server} is missing in HAProxy: pulumi up adds it`,
          },
        ]
      : [],
  );
}

function routeProblems({ name, spec, splits }: RouteAnswer): Problem[] {
  return Object.entries(splits).flatMap(([edge, split]) =>
    split === null || split === spec.split
      ? []
      : [
          {
            subject: `route ${name}`,
            message: `edge ${edge} gives the candidate ${formatSplit(split)} instead of ${formatSplit(spec.split)}: pulumi up puts it right`,
          },
        ],
  );
}
