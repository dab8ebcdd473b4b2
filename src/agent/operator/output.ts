import { stat } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import type { z } from "zod";
import type { OutputLine, outputQuery } from "../../model/protocol/output";
import { secretForms } from "../../model/types/secret-forms";
import { ApiError } from "../api/api-error";
import { fileOf, linesOf, type OutputPosition, startOfLast } from "../processes/output/output-stream";
import type { OutputTimes } from "../processes/output/output-times";
import type { Rotations } from "../processes/output/rotations";
import type { ProcessManager } from "../processes/process-manager";
import { ifThere } from "../support/files";
import { withoutForms } from "../support/mask";

const DEFAULT_LINES = 20;

export interface OutputSource {
  processes: ProcessManager;
  times: OutputTimes;
  /** Values of a pool that nobody is shown, also where an app prints them. */
  secretsOf: (pool: string) => string[];
}

/**
 * Streams a process's output as JSON lines.
 *
 * @throws Problem `not-found` where nothing is known under that id
 */
export async function streamOutput(
  { processes, times, secretsOf }: OutputSource,
  id: string,
  { lines, since, follow }: z.output<typeof outputQuery>,
  response: ServerResponse,
): Promise<void> {
  const record = processes.get(id);
  if (record === undefined) throw new ApiError(404, "not-found", `process ${id} is not on this agent`);
  const forms = secretForms(record.labels.pool === undefined ? [] : secretsOf(record.labels.pool));
  const path = processes.outputPath(id);
  const { rotations } = processes;
  times.look();
  const wanted = lines ?? (since === undefined ? DEFAULT_LINES : undefined);
  const from = later(
    since === undefined ? undefined : await startOfTime(path, Date.parse(since), { times, rotations }),
    wanted === undefined ? undefined : await startOfLast(path, wanted, rotations),
  );
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.flushHeaders();
  for await (const { line, end } of linesOf(path, from, {
    follow: follow === "true",
    signal: gone.signal,
    rotations,
  })) {
    const at = times.writtenBy(path, end.turn, end.byte);
    const answer: OutputLine = {
      line: withoutForms(line, forms),
      ...(at === undefined ? {} : { at: new Date(at).toISOString() }),
    };
    if (!response.write(`${JSON.stringify(answer)}\n`)) await drained(response);
  }
  response.end();
}

/** Position of the output after a time, as far as it is known: else the begin of the file that may have it. */
async function startOfTime(
  path: string,
  time: number,
  { times, rotations }: { times: OutputTimes; rotations: Rotations },
): Promise<OutputPosition> {
  for (;;) {
    const now = await rotations.turn(path);
    let position: OutputPosition = { turn: now, byte: 0 };
    for (let age = 0; ; age += 1) {
      const turn = now - age;
      const file = await ifThere(stat(fileOf(path, age)));
      // Not written to since then.
      if (file === undefined || (age > 0 && file.mtimeMs < time)) break;
      const byte = times.sizeAt(path, turn, time);
      position = { turn, byte: byte ?? 0 };
      if (byte !== undefined) break;
    }
    if (rotations.isNow(path, now)) return position;
  }
}

function later(one: OutputPosition | undefined, other: OutputPosition | undefined): OutputPosition {
  if (one === undefined || other === undefined) return one ?? other ?? { turn: 0, byte: 0 };
  const isLater = one.turn === other.turn ? one.byte > other.byte : one.turn > other.turn;
  return isLater ? one : other;
}

/** Waits until a slow reader has taken its data, or has gone. */
export async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed) return;
  await new Promise<void>((resolve) => {
    response.once("drain", resolve).once("close", resolve);
  });
}
