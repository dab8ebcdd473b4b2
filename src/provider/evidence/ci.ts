import type { Program } from "../../model/evidence/note";

/** Longest text that is kept. */
const MAX_LENGTH = 200;
/** Variables in which CI systems name the person who started a job. */
const ACTORS = ["GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILDKITE_BUILD_CREATOR", "BUILD_USER_ID", "CIRCLE_USERNAME"];
/** Variables in which CI systems give the job's page. */
const PAGES = ["CI_JOB_URL", "BUILDKITE_BUILD_URL", "BUILD_URL", "CIRCLE_BUILD_URL"];

/** The job that runs the update, where it is one; nothing on somebody's own machine. */
export function ciOf(env: Readonly<Record<string, string | undefined>>): Program["ci"] {
  const first = (names: readonly string[]) => names.map((name) => env[name]).find(Boolean);
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run } = env;
  const url =
    server && repository && run ? `${server}/${repository}/actions/runs/${run}` : withoutPassword(first(PAGES));
  const actor = first(ACTORS);
  if (!url && !actor) return undefined;
  return {
    ...(url ? { url: url.slice(0, MAX_LENGTH) } : {}),
    ...(actor ? { actor: actor.slice(0, MAX_LENGTH) } : {}),
  };
}

/** Addresses may hold credentials. */
function withoutPassword(url: string | undefined): string | undefined {
  return url?.replace(/^([a-z+]+:\/\/)[^/@]*@/i, "$1").replace(/[?#].*$/s, "");
}
