/**
 * The load generator as a process of its own:
 *
 *   node --import tsx test/load/main.ts --url http://127.0.0.1:8080 --report load.json [options]
 *
 *   --duration S      stop after S seconds (default 600)
 *   --rate N          GETs and POSTs per second         --connections N  keep-alive connections for them
 *   --post-share X    share of POSTs, 0 to 1            --slow N         slow requests at once
 *   --websockets N    WebSockets at once                --streams N      event streams at once
 *   --slow-seconds S  what a slow request takes        --patience S     for an answer (default 10)
 *
 * The report is rewritten each second (`running: true`). SIGTERM or SIGINT stops the load: what is in flight finishes, the
 * last report is written, and the process exits with 0, whatever the report says. A second signal ends it at once.
 */

import { renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { messageOf } from "../../src/model/types/errors";
import { type LoadOptions, startLoad } from "./load";
import { type LoadReport, summarize } from "./report";

const DEFAULT_DURATION_SECONDS = 600;
const REPORT_INTERVAL_MS = 1000;

function main(): void {
  const { load, report, durationMs } = readArguments();
  const running = startLoad(load);
  const write = (content: LoadReport): void => writeReport(report, content);
  write(running.snapshot());
  const writing = setInterval(() => write(running.snapshot()), REPORT_INTERVAL_MS);
  const ending = setTimeout(stop, durationMs);
  console.log(`load: running against ${load.host}:${load.port}, pid ${process.pid}`);

  function stop(): void {
    clearTimeout(ending);
    running.stop().then((content) => {
      clearInterval(writing);
      write(content);
      console.log(`load: ${summarize(content)}`);
      process.exit(0);
    });
  }
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

function readArguments(): { load: LoadOptions; report: string; durationMs: number } {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      url: text,
      report: text,
      duration: text,
      rate: text,
      connections: text,
      "post-share": text,
      slow: text,
      "slow-seconds": text,
      patience: text,
      websockets: text,
      streams: text,
    },
  });
  const { url, report } = values;
  if (url === undefined || !URL.canParse(url) || report === undefined) {
    throw new Error("--url and --report are needed: --url http://127.0.0.1:8080 --report load.json");
  }
  const number = (name: keyof typeof values, max: number): number | undefined => {
    const given = values[name];
    if (given === undefined) return undefined;
    const value = Number(given);
    if (given.trim() !== "" && value >= 0 && value <= max) return value;
    throw new Error(`--${name} is "${given}": give a number from 0 to ${max}`);
  };
  const mix = {
    rate: number("rate", 100_000),
    connections: number("connections", 10_000),
    postShare: number("post-share", 1),
    slow: number("slow", 10_000),
    websockets: number("websockets", 10_000),
    streams: number("streams", 10_000),
  };
  const given = Object.fromEntries(Object.entries(mix).filter(([, value]) => value !== undefined));
  const slowSeconds = number("slow-seconds", 60);
  const patience = number("patience", 3600);
  const { hostname, port } = new URL(url);
  return {
    load: {
      host: hostname,
      port: Number(port || 80),
      mix: given,
      ...(slowSeconds === undefined ? {} : { slowSeconds }),
      ...(patience === undefined ? {} : { timeoutMs: patience * 1000 }),
    },
    report,
    durationMs: (number("duration", 1_000_000) ?? DEFAULT_DURATION_SECONDS) * 1000,
  };
}

function writeReport(path: string, report: LoadReport): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(report, undefined, 2)}\n`);
  renameSync(temporary, path);
}

try {
  main();
} catch (error) {
  console.error(`load: ${messageOf(error)}`);
  process.exit(2);
}
