import { spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Project } from "./project";
import { interesting, say } from "./screen";

const NEUTRAL = ["--non-interactive", "--color", "never"];

export type Command = [program: string, ...args: string[]];

export interface Outcome {
  command: string;
  /** The exit code, or the name of the signal that ended the command. */
  exit: number | string;
  output: string;
}

export interface Running {
  pid: number;
  finished: Promise<Outcome>;
}

/** Prints a command, runs it, and prints the lines of its output that matter as they come; all of them go to a file. */
export function start(project: Project, [program, ...args]: Command, shown?: string): Running {
  const command = shown ?? [program, ...args].join(" ");
  say(`$ ${command}`);
  appendFileSync(project.output, `$ ${command}\n`);
  const all = program === "pulumi" ? [...args, ...NEUTRAL] : args;
  const child = spawn(program, all, { cwd: project.folder, env: project.env, stdio: ["ignore", "pipe", "pipe"] });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    const matters = interesting();
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      appendFileSync(project.output, `${line}\n`);
      if (matters(line)) say(`  ${line}`);
    });
  }
  const finished = new Promise<Outcome>((resolve, reject) => {
    child.on("error", reject);
    const end = (code: number | null, signal: string | null) =>
      resolve({ command, exit: code ?? signal ?? "unknown", output: lines.join("\n") });
    // The children of a killed command hold its streams for a while.
    child.on("exit", (code, signal) => (signal === null ? undefined : end(code, signal)));
    child.on("close", end);
  });
  return { pid: child.pid ?? 0, finished };
}
