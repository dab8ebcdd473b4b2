import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

/**
 * Settings of a program of the demo app.
 *
 * | argument        | environment          | meaning                                      | default   |
 * |-----------------|----------------------|----------------------------------------------|-----------|
 * | `--port N`      | `SLUICE_PORT`        | port to listen on, 0 for any free one        | 0         |
 * | `--release DIR` | `SLUICE_RELEASE_PATH`| folder that holds `release.json`             | `.`       |
 * | `--grace S`     |                      | seconds that open work may take after SIGTERM | 8        |
 *
 * `release.json` is `{"version": string, "healthy": boolean, "reason"?: string}`.
 */
export function readSettings() {
  const { values } = parseArgs({
    options: { port: { type: "string" }, release: { type: "string" }, grace: { type: "string" } },
  });
  return {
    port: number("--port", values.port ?? process.env.SLUICE_PORT ?? "0", 65_535),
    graceMs: number("--grace", values.grace ?? "8", 3600) * 1000,
    releasePath: values.release ?? process.env.SLUICE_RELEASE_PATH ?? ".",
  };
}

/** Reads `release.json` from a release's folder. */
export function readRelease(releasePath) {
  return JSON.parse(readFileSync(join(releasePath, "release.json"), "utf8"));
}

/** One line on standard output: when, who, what. */
export function log(who, text) {
  console.log(`${new Date().toISOString()} ${who} ${text}`);
}

function number(name, text, max) {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= max)) {
    throw new Error(`${name} is ${JSON.stringify(text)}: give a number from 0 to ${max}`);
  }
  return value;
}
