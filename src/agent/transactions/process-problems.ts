import { isAbsolute, resolve } from "node:path";
import type { PoolSpec } from "../../model/pool/pool";
import type { ProcessTemplate } from "../../model/process/process-template";
import { bytes } from "../../model/types/size";
import type { StepProblem } from "../api/api-error";
import { type Account, accountOf, limitedBy } from "../pools/launch/account";
import { accessProblem } from "../pools/launch/account-access";
import { limitProblem } from "../processes/cgroups";
import { problemsOf, sizeProblem } from "../processes/command";

/**
 * Reasons why processes of a release could not be started on this host: programs that are missing or not executable,
 * accounts that do not exist, missing tools of the host. Looked at before anything of the old release is touched.
 */
export async function processProblems({ release, processes }: PoolSpec): Promise<StepProblem[]> {
  const all = Object.entries(processes).map(async ([id, template]) => {
    const { account, problems } = await accountProblems(template);
    const found = await programProblems(template, release.path, account);
    return [...found, ...problems, ...sizeProblems(template)].map(({ path, message }) => ({
      path: `processes.${id}.${path}`,
      message,
    }));
  });
  return (await Promise.all(all)).flat();
}

/** The programs of all its commands whose names, folder and PATH can be known now. */
async function programProblems(
  template: ProcessTemplate,
  releasePath: string,
  account: Account | undefined,
): Promise<StepProblem[]> {
  const known = (text: string | undefined) => {
    const filled = text?.replaceAll("{{release.path}}", releasePath);
    return filled === undefined || filled.includes("{{") ? undefined : filled;
  };
  const cwd = known(template.cwd);
  const PATH = template.env.PATH === undefined ? process.env.PATH : known(template.env.PATH);
  if (cwd === undefined) return [];
  const { quiet, drain, stop } = template.lifecycle;
  const commands: [path: string, command: readonly string[] | string | undefined][] = [
    ["command[0]", template.command],
    ["lifecycle.quiet[0]", quiet],
    ["lifecycle.drain[0]", drain],
    ["lifecycle.stop[0]", stop],
    ["health.command[0]", template.health?.command],
  ];
  const checks = commands.map(async ([path, command]): Promise<StepProblem[]> => {
    const program = Array.isArray(command) ? known(command[0]) : undefined;
    if (program === undefined || (PATH === undefined && !program.includes("/"))) return [];
    const argv = [program.includes("/") && !isAbsolute(program) ? resolve(cwd, program) : program];
    const [problem] = await problemsOf({ argv, cwd, env: PATH === undefined ? {} : { PATH } });
    if (problem === undefined) {
      const denied = account && (await accessProblem(account, { program: argv[0] ?? "", cwd, path: PATH }));
      return denied === undefined ? [] : [{ path: denied.of === "cwd" ? "cwd" : path, message: denied.message }];
    }
    return problem.startsWith("cwd ")
      ? [{ path: "cwd", message: problem.slice("cwd ".length) }]
      : [{ path, message: problem.replace(/^argv\[0\] /, "") }];
  });
  const found = (await Promise.all(checks)).flat();
  // A folder that is missing is missing for all its commands.
  return found.filter(({ path }, index) => path !== "cwd" || found.findIndex((each) => each.path === path) === index);
}

/**
 * Arguments and environment that the kernel would refuse; templates are not filled in yet, so the start checks again.
 */
function sizeProblems({ command, env }: ProcessTemplate): StepProblem[] {
  const problem = sizeProblem({ argv: Array.isArray(command) ? command : [command], env });
  return problem === undefined ? [] : [{ path: "env", message: problem }];
}

async function accountProblems({
  user,
  group,
  limits,
}: ProcessTemplate): Promise<{ account?: Account | undefined; problems: StepProblem[] }> {
  const problems: StepProblem[] = [];
  let account: Account | undefined;
  try {
    if (user !== undefined) account = await accountOf(user, group);
  } catch (error) {
    problems.push({ path: "user", message: (error as Error).message });
  }
  try {
    limitedBy({ files: limits.files, core: limits.core === undefined ? undefined : 0 });
  } catch (error) {
    problems.push({ path: "limits", message: (error as Error).message });
  }
  const { cpu, memory, optional } = limits;
  for (const [name, limit] of Object.entries({ cpu, memory: memory === undefined ? undefined : bytes(memory) })) {
    const problem = optional ? undefined : limitProblem({ [name]: limit });
    if (problem !== undefined) problems.push({ path: `limits.${name}`, message: `can't be enforced: ${problem}` });
  }
  return { account, problems };
}
