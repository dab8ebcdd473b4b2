import { request } from "node:http";
import type { Recorder } from "../report";
import type { Target } from "./exchange";
import { keepRunning } from "./pace";
import { between, type Range } from "./range";

export interface StreamOptions {
  /** How many are open at once. */
  count: number;
  /** How long each is asked to be, at random. */
  seconds: Range;
  /** On top of the stream's own length. */
  timeoutMs: number;
}

/**
 * Keeps event streams open on `/events?seconds=N`. Their events carry the ids 0, 1, 2, ..., and the last one is
 * named `done`: without it the stream ended early, however politely.
 */
export function startStreams(target: Target, options: StreamOptions, recorder: Recorder): () => Promise<void> {
  return keepRunning(options.count, async () => {
    const cut = await readOnce(target, options);
    recorder.ended("stream", cut);
    return cut === undefined;
  });
}

/** Resolves to why the stream was cut, to nothing when it was complete. */
function readOnce(target: Target, options: StreamOptions): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const seconds = Number(between(options.seconds).toFixed(1));
    const path = `/events?seconds=${seconds}`;
    const outgoing = request({ ...target, path, headers: { accept: "text/event-stream" }, agent: false });
    const allowedMs = seconds * 1000 + options.timeoutMs;
    const timer = setTimeout(() => finish(`not done within ${allowedMs} ms`), allowedMs);
    let next = 0;
    let sawLast = false;
    let unread = "";

    function finish(cut?: string): void {
      clearTimeout(timer);
      outgoing.destroy();
      resolve(cut ? new Error(`GET ${path}: ${cut} (after ${next} events)`) : undefined);
    }

    function take(block: string): void {
      const fields = new Map(block.split("\n").map((line) => splitField(line)));
      if (fields.get("id") !== String(next)) finish(`event ${fields.get("id")} came where ${next} was due`);
      else if (fields.get("event") === "done") sawLast = true;
      else next++;
    }

    outgoing.on("error", (error) => finish(error.message));
    outgoing.on("response", (response) => {
      if (response.statusCode !== 200) return finish(`answered ${response.statusCode}`);
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        const blocks = (unread + text).split("\n\n");
        unread = blocks.pop() ?? "";
        for (const block of blocks) take(block);
      });
      response.on("error", (error) => finish(`cut: ${error.message}`));
      response.on("end", () => finish(sawLast ? undefined : "ended early"));
    });
    outgoing.end();
  });
}

function splitField(line: string): [string, string] {
  const colon = line.indexOf(":");
  return colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).trimStart()];
}
