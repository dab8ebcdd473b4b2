import { setTimeout as sleep } from "node:timers/promises";
import type { Instance } from "../../../model/pool/pool-instances";
import { milliseconds } from "../../../model/types/duration";
import { messageOf } from "../../../model/types/errors";
import { ApiError } from "../../api/api-error";
import type { ProcessRecord } from "../../processes/process-manager";
import { shownText } from "../../support/mask";
import { healthCheckOf, untilHealthy } from "../health/health";
import { untilListening } from "../health/listening";
import { exitText, type SupervisionContext, subjectOf } from "../supervise/supervised-process";
import { titleOf } from "./labels";

/**
 * Waits until a started process is up: healthy where it has a health check, else alive for its least uptime.
 *
 * @throws Problem `not-up` with its last output
 */
export async function becomesReady(instance: Instance, host: SupervisionContext): Promise<void> {
  const { processes } = host;
  const { id, template, port } = instance;
  const exit = new AbortController();
  const onExit = (record: ProcessRecord) => {
    if (record.id === id) exit.abort(new Error(exitText(record)));
  };
  processes.on("exit", onExit);
  try {
    const record = processes.get(id);
    if (record?.state === "exited") onExit(record);
    const { signal } = exit;
    const check = healthCheckOf(instance, processes);
    if (check !== undefined && template.health !== undefined) await untilHealthy(check, template.health, signal);
    else await sleep(milliseconds(template.minUptime), undefined, { signal });
    // Its predecessor listens on the same port, and may be the one that answers.
    if (template.handoff && port !== undefined) {
      const deadlineMs = milliseconds(template.health?.deadline ?? "1 minute");
      await untilListening(() => processes.get(id)?.group, port, deadlineMs, signal);
    }
  } catch (error) {
    const reason = messageOf(exit.signal.aborted ? exit.signal.reason : error);
    throw new ApiError(422, "not-up", `${titleOf(subjectOf(instance))} ${reason}${await lastOutput(instance, host)}`);
  } finally {
    processes.off("exit", onExit);
  }
}

async function lastOutput(instance: Instance, { processes, secretEnv }: SupervisionContext): Promise<string> {
  const { outputLines } = instance.template;
  if (outputLines === 0) return "";
  const lines = await processes.tail(instance.id, { lines: outputLines });
  if (lines.length === 0) return "; it printed nothing";
  // An app may print its secrets as it fails, but messages go to events, to the journal and to whoever deploys.
  const secrets = Object.values(secretEnv(instance));
  return `; its last output:\n${lines.map((line) => `  | ${shownText(line, secrets)}`).join("\n")}`;
}
