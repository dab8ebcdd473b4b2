import { spawn } from "node:child_process";
import { basename } from "node:path";
import type { CommandGate } from "../../model/gate/gate";
import type { Probe } from "../../model/gate/verdict";
import { endGroup } from "../../support/end-group";
import { type ProbeContext, probeResult } from "./context";

/** Output that is kept for the message, in characters from its end. */
const KEPT = 300;

/** Runs a command: exit code 0 passes, another fails. One that cannot run, or is ended by a signal, has no verdict. */
export function probeCommand({ command, cwd }: CommandGate, { signal }: ProbeContext): Promise<Probe> {
  const [program = "", ...args] = command;
  return new Promise((resolve) => {
    let output = "";
    // A group of its own, so that what it started ends with it.
    const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"], detached: true });
    const end = () => endGroup(child);
    const finish = (probe: Probe) => {
      signal.removeEventListener("abort", end);
      resolve(probe);
    };
    signal.addEventListener("abort", end, { once: true });
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        output = (output + text).slice(-KEPT);
      });
    const lastLine = () => (output.trim() === "" ? "" : `: ${output.trim().split("\n").at(-1)}`);
    child.on("error", (error) =>
      finish(probeResult("unavailable", `${basename(program)} can't be run: ${error.message}`)),
    );
    // Not "close": what it left behind in the background may keep its output open.
    child.on("exit", (code, ended) => {
      end();
      if (code === 0) finish(probeResult("pass", `${basename(program)} passed`, { code }));
      else if (code === null)
        finish(probeResult("unavailable", `${basename(program)} was ended by ${ended}${lastLine()}`));
      else finish(probeResult("fail", `${basename(program)} exited with ${code}${lastLine()}`, { code }));
    });
  });
}
