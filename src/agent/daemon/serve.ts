import type { Server } from "node:http";
import { isDeepStrictEqual } from "node:util";
import { type EvidenceRetention, evidenceRetention } from "../../model/evidence/retention";
import { createApi } from "../api/server";
import { folderProblems } from "../state/state-folder";
import { isGuarded } from "./about";
import type { Parts } from "./compose";
import { readConfig } from "./config";

/** The API of an agent's parts, which does not listen yet. */
export function serve(parts: Parts, shutdown: (restart: boolean) => void): Server {
  const { about, events, secrets, processes, recovery, outputTimes, folder } = parts;
  const { host, meter, mirror, evidence, transactions } = parts;
  return createApi({
    host,
    transactions,
    evidence,
    meter,
    mirror,
    events,
    operator: { host, directory: about.directory, recovery, folderProblems: () => folderProblems(folder) },
    output: { processes, times: outputTimes, secretsOf: (pool) => secrets.valuesOf(pool) },
    about: () => ({ ...about, guarded: isGuarded(about.guard), declarers: host.committed.declarers }),
    folderProblems: () => folderProblems(folder),
    reload: () => reload(parts),
    shutdown,
  });
}

/** Takes the options that need no restart from `agent.json`. */
async function reload({ about, events, evidence }: Parts): Promise<object> {
  const { options: wanted } = await readConfig(about.directory);
  const taken = { ...about.options, evidence: wanted.evidence };
  if (!isDeepStrictEqual(taken.evidence, about.options.evidence))
    events.emit(`evidence is kept ${retentionInWords(wanted.evidence)} from now on`);
  about.options = taken;
  await evidence.keep(wanted.evidence);
  return {};
}

function retentionInWords(given: EvidenceRetention | undefined): string {
  const { count, days, size } = given ?? evidenceRetention.parse({});
  return `for ${days} days, ${count} transactions and ${size} at most`;
}
