/**
 * The queue between web, coordinator and workers, over HTTP. Every change is appended to a journal before it is
 * answered, so that a crash loses no job: a job is done at least once.
 *
 *   SLUICE_PORT=18321 DATA=/var/lib/webapp node broker.mjs
 *
 * | request                     | answer                                                          |
 * |-----------------------------|-----------------------------------------------------------------|
 * | GET /healthz                | 200                                                             |
 * | POST /jobs {kind, seconds}  | 201 {id}                                                        |
 * | GET /jobs                   | {waiting, leased, done, put}: how many there are                |
 * | GET /jobs/ID                | the job, or 404                                                 |
 * | POST /lease {worker}        | 200 a job that is this worker's now, or 204                     |
 * | POST /done {id, by}         | 204                                                             |
 * | POST /requeue {olderThanMs} | 200 {requeued}: jobs whose worker has not finished them in time |
 */
import { appendFileSync, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { log, releaseOf, required } from "./common.mjs";

const folder = required("DATA");
const journal = join(folder, "jobs.ndjson");
/** Id -> {id, kind, seconds, state: waiting|leased|done, worker?, leasedAt?, by?}; a real broker forgets old ones. */
const jobs = new Map();

mkdirSync(folder, { recursive: true, mode: 0o700 });
for (const line of readJournal()) {
  try {
    const job = JSON.parse(line);
    // Its worker may still have it after the broker died: the coordinator gives it to another after a while.
    jobs.set(job.id, job);
  } catch {
    log(`a line of ${journal} was not written to its end: its request was never answered`);
  }
}
log(`${jobs.size} jobs in ${journal}`);

function readJournal() {
  try {
    return readFileSync(journal, "utf8").split("\n").filter(Boolean);
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}

function keep(job) {
  // The newline first: a line that a crash has cut short stays a line of its own.
  appendFileSync(journal, `\n${JSON.stringify(job)}`, { mode: 0o600 });
  jobs.set(job.id, job);
  return job;
}

const inState = (state) => [...jobs.values()].filter((job) => job.state === state);

const routes = {
  "GET /healthz": () => [200, { release: releaseOf() }],
  "GET /jobs": () => [
    200,
    {
      waiting: inState("waiting").length,
      leased: inState("leased").length,
      done: inState("done").length,
      put: jobs.size,
    },
  ],
  "POST /jobs": ({ kind = "request", seconds = 1 }) => {
    const { id } = keep({ id: jobs.size + 1, kind: String(kind), seconds: Number(seconds), state: "waiting" });
    return [201, { id }];
  },
  "POST /lease": ({ worker }) => {
    const [next] = inState("waiting");
    return next === undefined ? [204] : [200, keep({ ...next, state: "leased", worker, leasedAt: Date.now() })];
  },
  "POST /done": ({ id, by }) => {
    const job = jobs.get(id);
    if (job === undefined) return [404, { error: `there is no job ${id}` }];
    keep({ ...job, state: "done", by });
    return [204];
  },
  "POST /requeue": ({ olderThanMs }) => {
    const late = inState("leased").filter(({ leasedAt }) => Date.now() - leasedAt > olderThanMs);
    for (const { id, kind, seconds } of late) keep({ id, kind, seconds, state: "waiting" });
    return [200, { requeued: late.map(({ id }) => id) }];
  },
};

async function answer(request) {
  const { pathname } = new URL(request.url, "http://broker");
  const one = /^\/jobs\/(\d+)$/.exec(pathname);
  if (request.method === "GET" && one) {
    const job = jobs.get(Number(one[1]));
    return job === undefined ? [404, { error: `there is no job ${one[1]}` }] : [200, job];
  }
  const route = routes[`${request.method} ${pathname}`];
  if (route === undefined) return [404, { error: `no such page: ${request.method} ${pathname}` }];
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) body += chunk;
  try {
    return route(body === "" ? {} : JSON.parse(body));
  } catch (error) {
    return [error instanceof SyntaxError ? 400 : 500, { error: error.message }];
  }
}

const server = createServer({ keepAliveTimeout: 75_000 }, async (request, response) => {
  const [status, value] = await answer(request);
  response.writeHead(status, { "content-type": "application/json" });
  response.end(value === undefined ? undefined : JSON.stringify(value));
});
process.once("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
server.listen(Number(required("SLUICE_PORT")), "127.0.0.1", () => log("ready"));
