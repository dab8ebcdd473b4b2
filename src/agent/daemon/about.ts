import { PROTOCOL } from "../../model/protocol/transaction";
import { readStat } from "../processes/identity";
import type { AgentConfig } from "./config";

/** Set by the systemd unit: who restarts the agent, and keeps its standard output. */
export const SUPERVISED = process.env.SLUICE_SUPERVISOR === "systemd";

export interface OwnFacts {
  version: string;
  protocol: number;
  pid: number;
  since: string;
  socket: string;
  options: AgentConfig["options"];
  directory: string;
  notes: string[];
  /** Parent that started the agent. */
  guard: number;
}

/** @param notes problems of the state on disk */
export function ownFacts(directory: string, { version, options }: AgentConfig, notes: string[]): OwnFacts {
  return {
    version,
    protocol: PROTOCOL,
    pid: process.pid,
    since: new Date().toISOString(),
    socket: options.socket,
    options,
    directory,
    notes,
    guard: process.ppid,
  };
}

/** Whether something restarts the agent when it dies: systemd, or the guard that started it. */
export function isGuarded(guard: number): boolean {
  // One that a signal has stopped starts nothing.
  return SUPERVISED || (process.ppid === guard && guard !== 1 && readStat(guard)?.state !== "T");
}
