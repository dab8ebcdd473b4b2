import { type Duration, milliseconds } from "../types/duration";
import { quoteValue } from "../types/messages";
import { asObject, isObject } from "../types/objects";
import { bytes, type Size } from "../types/size";
import { HEALTH_KINDS } from "./supervision";

export interface PoolProblem {
  path: (string | number)[];
  message: string;
}

/**
 * Problems of a process's supervision, across its properties.
 *
 * @param raw the process, of which any part may be anything: what is malformed is told by its own schema, and nothing is
 *   concluded from it
 * @param secrets names of its environment variables whose values are secret
 */
export function supervisionProblems(
  id: string,
  raw: Record<string, unknown>,
  secrets: readonly string[],
): PoolProblem[] {
  return [
    ...handoverProblems(raw, secrets),
    ...healthProblems(raw.health),
    ...lifecycleProblems(raw.lifecycle, raw.stopSignal),
    ...memoryProblems(raw),
    ...policyProblems(raw),
  ].map(({ path, message }) => ({ path: ["processes", id, ...path], message }));
}

function handoverProblems(raw: Record<string, unknown>, secret: readonly string[]): PoolProblem[] {
  const { env = {} } = raw;
  if (!isObject(env)) return [];
  const owners = new Map<unknown, string>();
  return Object.entries(asObject(raw.secrets)).flatMap(([name, given]): PoolProblem[] => {
    const { fd } = asObject(given);
    const owner = owners.get(fd);
    if (fd !== undefined && owner !== undefined)
      return [
        { path: ["secrets", name, "fd"], message: `${quoteValue(fd)} is also that of ${owner}: use another one` },
      ];
    owners.set(fd, name);
    if (!Object.hasOwn(env, name))
      return [{ path: ["secrets", name], message: "is not a variable of env: add its value there, as a secret" }];
    if (secret.includes(name)) return [];
    return [
      {
        path: ["env", name],
        message: "is to be kept out of the environment, but is not secret: use config.requireSecret or pulumi.secret",
      },
    ];
  });
}

function healthProblems(health: unknown): PoolProblem[] {
  if (!isObject(health)) return [];
  const given = HEALTH_KINDS.filter((kind) => health[kind] !== undefined);
  const problems: PoolProblem[] = [];
  if (given.length !== 1) {
    const found = given.length === 0 ? "declares no check" : `has ${given.join(" and ")}`;
    problems.push({ path: ["health"], message: `${found}: give one of ${HEALTH_KINDS.join(", ")}` });
  }
  const startDelay = durationOf(health.startDelay);
  const deadline = durationOf(health.deadline);
  if (startDelay !== undefined && deadline !== undefined && startDelay >= deadline)
    problems.push({
      path: ["health", "startDelay"],
      message: `${quoteValue(health.startDelay)} leaves no time for a probe before the deadline of ${health.deadline}: make it shorter, or the deadline longer`,
    });
  return problems;
}

function lifecycleProblems(lifecycle: unknown, stopSignal: unknown): PoolProblem[] {
  if (!isObject(lifecycle)) return [];
  const problems: PoolProblem[] = [];
  const drainTimeout = lifecycle.drainTimeout === undefined ? 0 : durationOf(lifecycle.drainTimeout);
  if (lifecycle.drain !== undefined && drainTimeout === 0)
    problems.push({
      path: ["lifecycle", "drain"],
      message: 'a drain command needs its time: add drainTimeout, such as "1 minute"',
    });
  if (lifecycle.stop !== undefined && typeof stopSignal === "string" && stopSignal !== "SIGTERM")
    problems.push({
      path: ["stopSignal"],
      message: `${quoteValue(stopSignal)} is never sent where lifecycle.stop ends the process: leave out one of the two`,
    });
  return problems;
}

function memoryProblems({ memory, limits, policy, replicas }: Record<string, unknown>): PoolProblem[] {
  const { limit, warning } = asObject(memory);
  if (memory === undefined) return [];
  const problems: PoolProblem[] = [];
  const [at, from] = [sizeOf(limit), sizeOf(warning)];
  const { memory: kernel } = asObject(limits);
  const killedAt = sizeOf(kernel);
  if (at !== undefined && killedAt !== undefined && at >= killedAt)
    problems.push({
      path: ["memory", "limit"],
      message: `${quoteValue(limit)} is not below limits.memory of ${kernel}, at which the kernel kills it: make it smaller`,
    });
  if (at !== undefined && from !== undefined && from >= at)
    problems.push({
      path: ["memory", "warning"],
      message: `${quoteValue(warning)} is not below the limit of ${limit}: make it smaller`,
    });
  if (policy === "proxied" && (replicas === undefined || replicas === 1))
    problems.push({
      path: ["memory"],
      message:
        "a proxied process with one replica would cut its traffic when it restarts for its memory: declare replicas: 2 or more, or leave memory out",
    });
  return problems;
}

function policyProblems({
  policy,
  handoff,
  port,
  nonBlockingDrain,
  group,
  user,
}: Record<string, unknown>): PoolProblem[] {
  const problems: PoolProblem[] = [];
  if (handoff === true && typeof policy === "string" && policy !== "service")
    problems.push({ path: ["handoff"], message: `a ${policy} is replaced per release anyway: leave handoff out` });
  if (handoff === true && policy === "service" && (port === undefined || typeof port === "boolean"))
    problems.push({ path: ["handoff"], message: "hands its port over, but has none: add its port as a number" });
  if (nonBlockingDrain === true && typeof policy === "string" && policy !== "companion")
    problems.push({
      path: ["nonBlockingDrain"],
      message: `a ${policy} does not wait for others to drain: leave nonBlockingDrain out`,
    });
  if (group !== undefined && user === undefined)
    problems.push({ path: ["group"], message: "a group goes with a user: add user" });
  return problems;
}

function durationOf(value: unknown): number | undefined {
  return parsed(() => (typeof value === "string" ? milliseconds(value as Duration) : undefined));
}

function sizeOf(value: unknown): number | undefined {
  return parsed(() => (typeof value === "string" ? bytes(value as Size) : undefined));
}

/** A malformed value is reported by its own schema. */
function parsed(parse: () => number | undefined): number | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
