import type { Server } from "node:http";
import { untilForeign } from "../state/folder-lock";
import type { Parts } from "./compose";

/** Exit code that asks the guard to start the version that is installed now, at once. */
export const EXIT_RESTART = 75;
/** Time for the undo of open transactions when the agent is told to stop, in milliseconds: less than service managers give. */
const UNDO_DEADLINE_MS = 20_000;
/** Time for the evidence of what has ended to be written when the agent stops, in milliseconds; the next agent does the rest. */
const EVIDENCE_DEADLINE_MS = 2000;

/** Ends the agent, and leaves processes and traffic as they are. */
export function stop(
  { transactions, outages, host, mirror, outputTimes, processes, events, evidence, meter }: Parts,
  server: Server,
  release: () => Promise<void>,
  { restart }: { restart: boolean },
): void {
  transactions.close();
  outages.close();
  host.close();
  const unmirrored = mirror.close();
  outputTimes.close();
  processes.close();
  server.close();
  events.emit(
    restart ? "the agent restarts; processes and traffic go on" : "the agent stops; processes and traffic go on",
  );
  const written = evidence.close(EVIDENCE_DEADLINE_MS).then(() => Promise.all([meter.close(), events.flush()]));
  void Promise.all([written, unmirrored, release()]).finally(() => process.exit(restart ? EXIT_RESTART : 0));
}

/** Undoes open transactions before the end that a signal asks for, since nobody would do it until the next start. */
export function stopOnSignals({ transactions }: Parts, end: () => void): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => {
      void transactions.undoAll(`the agent was told to stop (${signal})`, UNDO_DEADLINE_MS).finally(end);
    });
}

/** Ends the agent where another one works on its paths, since they would end each other's HAProxy, and tidies nothing up: all paths are the other one's. */
export function stopWhereForeign({ about: { directory }, events }: Parts, signal: AbortSignal): void {
  untilForeign(directory, signal).then(
    (why) => {
      const message = `${why}: this agent (process ${process.pid}) ends, and leaves its HAProxy and processes as they are; stop that agent and put this one's folder back to go on with them`;
      events.emit(message);
      process.stderr.write(`${message}\n`);
      setImmediate(() => process.exit(0));
    },
    (error: Error) => {
      if (!signal.aborted) throw error;
    },
  );
}
