import type { AgentStatus, EdgeAnswer, NotObserved, PoolObservation, RouteAnswer } from "../../agent/api/answers";
import { TAKEN_OVER, WAITING } from "../../model/process/takeover";
import { UNGUARDED } from "../../model/protocol/agent";
import { formatSplit, parsePercent } from "../../model/route/split";
import { poolOfBackend } from "../../model/types/names";
import { counted, span } from "../common/units";
import { outages, serverProblems } from "./backend-problems";
import { exitText } from "./exit-text";
import { observed } from "./observed";
import type { StatusProblem } from "./schema";

/** Everything on an agent that is not as it should be, what cuts traffic first. */
export function problemsOf(status: AgentStatus, now: Date): StatusProblem[] {
  const all = allProblems(status, now);
  return [...all.filter(({ outage }) => outage), ...all.filter(({ outage }) => !outage)];
}

function allProblems({ agent, edges, pools, backends, routes, transactions }: AgentStatus, now: Date): StatusProblem[] {
  const changing = new Set<string>(transactions.map(({ target }) => target));
  const all: [kind: string, answers: Record<string, { name: string } | NotObserved<unknown>>][] = [
    ["edge", edges],
    ["pool", pools],
    ["route", routes],
    ["backend", backends],
  ];
  const poolOf = (backend: string) => (poolOfBackend(backend) in pools ? poolOfBackend(backend) : undefined);
  const isChanging = (edge: string) => (backend: string) =>
    [`edge/${edge}`, `backend/${edge}/${backend}`, `pool/${poolOf(backend)}`].some((target) => changing.has(target));
  return [
    ...all.flatMap(([kind, answers]) => unseen(kind, answers)),
    ...observed(edges).flatMap(outages),
    ...observed(edges).flatMap(edgeProblems),
    ...observed(pools).flatMap((pool) => poolProblems(pool, changing.has(`pool/${pool.name}`), now)),
    ...observed(edges).flatMap((edge) => serverProblems(edge, { poolOf, isChanging: isChanging(edge.name) })),
    ...observed(routes).flatMap((route) => (changing.has(`route/${route.name}`) ? [] : routeProblems(route, edges))),
    ...transactions.flatMap(({ target, state, since, reason, delay }) =>
      state === "undoing"
        ? [
            {
              subject: target.replace("/", " "),
              message: `is being undone (${reason ?? "for an unknown reason"}), and began ${span(now.getTime() - Date.parse(since))} ago${delay === undefined ? "" : `: ${delay}`}`,
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
            message: `${UNGUARDED}: run pulumi up, or run the agent under systemd (sluice agent install)`,
          },
        ]),
  ];
}

function unseen(kind: string, all: Record<string, { name: string } | NotObserved<unknown>>): StatusProblem[] {
  return Object.entries(all).flatMap(([name, each]) =>
    "error" in each
      ? [
          {
            subject: `${kind} ${name}`,
            message: `can't be ${each.known === undefined ? "" : "fully "}observed: ${each.error}`,
            ...(kind === "edge" ? { outage: true } : {}),
          },
        ]
      : [],
  );
}

function edgeProblems({ name, live, observed, sharers = [] }: EdgeAnswer): StatusProblem[] {
  const subject = `edge ${name}`;
  if (live.haproxy !== "running")
    return [
      { subject, message: "its HAProxy does not run: the agent tries to start it, see sluice events", outage: true },
    ];
  const config: StatusProblem[] =
    live.config === "as declared"
      ? []
      : [{ subject, message: `its config is ${live.config}: pulumi up puts the declared one back` }];
  const closed = Object.entries(live.frontends).flatMap(([frontend, status]) => {
    if (status === "open") return [];
    const remedy = status === WAITING ? "it opens with its first good release" : "pulumi up opens it";
    return [
      {
        subject,
        message: `its frontend ${frontend} is ${status}: ${remedy}`,
        ...(status === WAITING ? {} : { outage: true }),
      },
    ];
  });
  const shared = sharers.map((sentence) => ({
    subject,
    message: `${sentence}, and takes some of its requests: stop that process`,
    outage: true,
  }));
  const certificates = (observed.certificates ?? []).map(({ problem, refused }) => ({
    subject,
    message: problem,
    ...(refused ? { outage: true } : {}),
  }));
  return [...shared, ...certificates, ...config, ...closed, ...existingProcesses(subject, live.takeover)];
}

/** Existing processes that should have been taken over, and run. */
function existingProcesses(subject: string, takeover: Record<string, string> = {}): StatusProblem[] {
  return Object.entries(takeover).flatMap(([title, now]) =>
    now === TAKEN_OVER ? [] : [{ subject, message: `${title} is not taken over: ${now}` }],
  );
}

function poolProblems(pool: PoolObservation, changing: boolean, now: Date): StatusProblem[] {
  const { name, live, processes, candidate } = pool;
  const bad = processes.flatMap((process): StatusProblem[] => {
    const { key, release, current, state, startedAt, suspended, pid } = process;
    const subject = `${key} of pool ${name}`;
    if (process.startsFrom !== undefined)
      return [{ subject, message: `is down (${state}): ${process.startsFrom}'s template starts it` }];
    if (state === "failed")
      return [
        {
          subject,
          message: `has failed (release ${release}, ${endOf(process)}): sluice restart ${name}/${key}, or a deployment, revives it`,
        },
      ];
    if (state === "backoff")
      return [{ subject, message: `waits for its next start (release ${release}, ${endOf(process)})` }];
    if (state === "starting" && current && !changing)
      return [{ subject, message: `is not up yet (release ${release}, ${endOf(process)})` }];
    if (suspended)
      return [{ subject, message: `is suspended by a signal such as SIGSTOP: kill -CONT ${pid} resumes it` }];
    if (process.health === "unhealthy" && current) return [{ subject, message: `is unhealthy (release ${release})` }];
    if (current && state === "stopped" && !changing) return [{ subject, message: `does not run (release ${release})` }];
    if (!current && state === "running" && !changing)
      return [
        {
          subject,
          message: `belongs to release ${release}, which does not serve${startedAt === undefined ? "" : `, and runs for ${span(now.getTime() - Date.parse(startedAt))}`}`,
        },
      ];
    if (process.outputLost && current)
      return [
        { subject, message: `what it writes is lost, since its file was deleted: sluice restart ${name}/${key}` },
      ];
    return [];
  });
  const reported = new Set(bad.map(({ subject }) => subject));
  const wantedNow = { ...live.processes, ...live.candidate?.processes };
  const missing = Object.entries(wantedNow).flatMap(([key, state]): StatusProblem[] => {
    const subject = `${key} of pool ${name}`;
    return state === "missing" && !reported.has(subject) && !changing
      ? [{ subject, message: "does not exist: pulumi up starts it" }]
      : [];
  });
  const folders = folderProblems(pool);
  const share = live.candidate?.split;
  const wanted = formatSplit(candidate?.share?.split ?? 0);
  const splits: StatusProblem[] =
    share === undefined || share === "none" || share === wanted || changing
      ? []
      : [
          {
            subject: `pool ${name}`,
            message: `its edge gives the candidate ${share} instead of ${wanted}: pulumi up corrects it`,
          },
        ];
  return [
    ...bad,
    ...missing,
    ...splits,
    ...folders,
    ...(changing ? [] : existingProcesses(`pool ${name}`, live.takeover)),
  ];
}

/** Releases of a pool whose folders are gone: what runs of them can't be started again, and nothing can be rolled back to them. */
function folderProblems({ name, live, retained, folderGone = false }: PoolObservation): StatusProblem[] {
  const subject = `pool ${name}`;
  const lost = retained
    .filter(({ gone }) => gone)
    .map(({ release }) => ({
      subject,
      message: `release ${release.id} is kept for a rollback, but neither ${release.path} nor its copy exists: put the folder back, or that rollback fails`,
    }));
  return folderGone
    ? [
        {
          subject,
          message: `the folder of the running release ${live.release} is gone: its processes can't restart until you put it back`,
        },
        ...lost,
      ]
    : lost;
}

/** How often a process was restarted, and how it ended last. */
function endOf({ restarts, restartsInWindow, maxRestarts, lastExit }: PoolObservation["processes"][number]): string {
  const times =
    maxRestarts === undefined
      ? counted(restarts, "restart")
      : `${restartsInWindow} of ${counted(maxRestarts, "restart")} in its window`;
  return lastExit === undefined ? times : `${times}, last ended by ${exitText(lastExit)}`;
}

function routeProblems(
  { name, spec, splits, mirrors = {} }: RouteAnswer,
  edges: AgentStatus["edges"],
): StatusProblem[] {
  const subject = `route ${name}`;
  const gone = spec.edges
    .filter((edge) => edges[edge] === undefined)
    .map((edge) => ({
      subject,
      message: `edge ${edge} is not on this agent: pulumi up declares it, or takes it from the route`,
    }));
  const wrong = (shares: Record<string, number | null>, wanted: number, who: string) =>
    Object.entries(shares).flatMap(([edge, share]) =>
      share === null || share === wanted
        ? []
        : [
            {
              subject,
              message: `edge ${edge} gives ${who} ${formatSplit(share)} instead of ${formatSplit(wanted)}: pulumi up corrects it`,
            },
          ],
    );
  return [
    ...gone,
    ...wrong(splits, spec.split, "the candidate"),
    ...wrong(mirrors, parsePercent(spec.mirror?.share ?? "0%") ?? 0, "the mirror"),
  ];
}
