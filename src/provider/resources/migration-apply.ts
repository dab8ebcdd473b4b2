import { setTimeout as sleep } from "node:timers/promises";
import { appliedIn, findMigration, type MigrationsSpec } from "../../model/policy/migration-set";
import { formatMilliseconds, milliseconds } from "../../model/types/duration";
import { CommandError, runCommand } from "../commands/run-command";
import type { Context } from "../server";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** Messages of databases about a lock that could not be had in time, or about a deadlock. */
const LOCKED =
  /lock timeout|55P03|could not obtain lock|deadlock detected|40P01|Lock wait timeout exceeded|database is locked|SQLITE_BUSY/i;

type Signals = Pick<Context, "signal" | "log">;

/** The applied migrations among those of the folder: what the database's command says, or what is given and recorded. */
export async function askApplied(
  spec: MigrationsSpec,
  ids: readonly string[],
  recorded: readonly string[],
  { signal }: Pick<Context, "signal">,
): Promise<string[]> {
  const { status, applied = [] } = spec;
  if (status === undefined) {
    const given = new Set([...recorded, ...applied.flatMap((one) => findMigration(ids, one) ?? [])]);
    return ids.filter((id) => given.has(id));
  }
  const output = await runCommand({
    command: status.command,
    cwd: spec.cwd ?? spec.folder,
    env: spec.env,
    timeoutMs: milliseconds(status.timeout),
    signal,
  });
  return appliedIn(output, ids, status.prints);
}

/** Runs the command that applies what is pending; again, after a pause that grows, where a lock could not be had. */
export async function applyPending(
  spec: MigrationsSpec,
  pending: readonly string[],
  context: Signals,
): Promise<number> {
  const { command, timeout, lockTimeout, attempts } = spec.apply;
  const { signal, log } = context;
  for (let attempt = 1; ; attempt += 1) {
    try {
      log.progress(`applying ${pending.join(", ")}${attempt === 1 ? "" : `, attempt ${attempt} of ${attempts}`}`);
      await runCommand({
        command,
        cwd: spec.cwd ?? spec.folder,
        env: { ...spec.env, ...limits(spec), SLUICE_PENDING: pending.join("\n") },
        timeoutMs: milliseconds(timeout),
        signal,
        line: (text) => log.progress(text),
      });
      return attempt;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      if (!LOCKED.test(error.output)) throw error;
      if (attempt >= attempts)
        throw new Error(
          `${error.message} (no lock within ${lockTimeout}, ${attempts} times: find its holder, or apply at a quieter time)`,
        );
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2);
      log.info(`no lock within ${lockTimeout}: trying again in ${formatMilliseconds(pause)}`);
      await sleep(pause, undefined, { signal });
    }
  }
}

/** PostgreSQL's own clients and most drivers read PGOPTIONS; what the user sets there goes before. */
function limits({ dialect, apply, env }: MigrationsSpec): Record<string, string> {
  if (dialect !== "postgres") return {};
  const given = env.PGOPTIONS ?? process.env.PGOPTIONS ?? "";
  return { PGOPTIONS: `-c lock_timeout=${milliseconds(apply.lockTimeout)} ${given}`.trim() };
}
