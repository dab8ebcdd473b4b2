import { listenOnSocket } from "../api/socket";
import { type EventLog, LogFile, StandardOutput } from "../events/event-log";
import { Events } from "../events/events";
import { DiskReserve } from "../state/disk-reserve";
import { ensurePrivateFolder } from "../state/private-folder";
import { StateFile } from "../state/state";
import { ownFacts, SUPERVISED } from "./about";
import { compose } from "./compose";
import { type AgentConfig, readConfig } from "./config";
import { assertUnused, takeFolder } from "./folder";
import { serveNothing } from "./no-state";
import { recover } from "./recover";
import { serve } from "./serve";
import { stop, stopOnSignals, stopWhereForeign } from "./stop";

/** Starts the agent of a state folder: adopts running processes, undoes open transactions, then listens. */
export async function runAgent(directory: string): Promise<void> {
  await ensurePrivateFolder(directory);
  const config = await readConfig(directory);
  await assertUnused(directory, config.options.socket);
  const diskReserve = await DiskReserve.openIn(directory);
  // A full disk must not keep the agent from coming back: processes and traffic depend on it.
  await diskReserve.during(() => start(directory, config, diskReserve));
}

async function start(directory: string, config: AgentConfig, diskReserve: DiskReserve): Promise<void> {
  const release = await takeFolder(directory, config.options.socket);
  // A full disk behind the log must not end the agent; events are kept in memory and in a file of their own.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  const events = new Events(directory, logOf(config.options));
  const stateFile = new StateFile(directory);
  const loaded = await stateFile.load();
  for (const note of loaded.notes) events.emit(note);
  const about = ownFacts(directory, config, loaded.notes);
  if (loaded.kind === "unreadable") return serveNothing(about, events, stateFile);
  if (!loaded.complete) for (const note of await stateFile.save(loaded.state)) events.emit(note);

  const parts = await compose({ about, state: loaded.state, stateFile, diskReserve, events });
  const foreign = new AbortController();
  const end = (restart: boolean) => {
    foreign.abort();
    stop(parts, server, release, { restart });
  };
  const server = serve(parts, end);
  stopOnSignals(parts, () => end(false));
  process.on("SIGHUP", () => events.reopen());
  stopWhereForeign(parts, foreign.signal);
  await recover(parts);
  await listenOnSocket(server, config.options);
  events.emit(`the agent ${config.version} listens on ${config.options.socket}`, { pid: process.pid });
}

function logOf({ log }: AgentConfig["options"]): EventLog | undefined {
  if (log !== undefined) return new LogFile(log);
  return SUPERVISED ? new StandardOutput() : undefined;
}
