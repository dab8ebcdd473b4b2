import type { ServerResponse } from "node:http";
import type { z } from "zod";
import type { OutputLine, outputQuery } from "../../model/output";
import { masked } from "../mask";
import { Problem } from "../problem";
import type { ProcessHost } from "../processes/host";
import { linesOf, startOfLast } from "../processes/output-stream";
import type { OutputTimes } from "../processes/output-times";

const DEFAULT_LINES = 20;

export interface OutputSource {
  processes: ProcessHost;
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
  if (record === undefined) throw new Problem(404, "not-found", `process ${id} is not on this agent`);
  const secrets = record.labels.pool === undefined ? [] : secretsOf(record.labels.pool);
  const path = processes.outputPath(id);
  times.look();
  const startOfSince = since === undefined ? 0 : times.sizeAt(path, Date.parse(since));
  const wanted = lines ?? (since === undefined ? DEFAULT_LINES : undefined);
  const from = Math.max(startOfSince, wanted === undefined ? 0 : await startOfLast(path, wanted));
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.flushHeaders();
  for await (const { line, end } of linesOf(path, from, { follow: follow === "true", signal: gone.signal })) {
    const at = times.writtenBy(path, end);
    const answer: OutputLine = {
      line: masked(line, secrets),
      ...(at === undefined ? {} : { at: new Date(at).toISOString() }),
    };
    if (!response.write(`${JSON.stringify(answer)}\n`)) await drained(response);
  }
  response.end();
}

/** Waits until a slow reader has taken what it was given, or has gone. */
export async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed) return;
  await new Promise<void>((resolve) => {
    response.once("drain", resolve).once("close", resolve);
  });
}
