import assert from "node:assert/strict";
import { get } from "node:http";
import type { AgentClient } from "../../agent/client/client";
import { say } from "./screen";

const ANSWERS = 10;

/** Fails unless every answer through the edge comes from this release, and the host agrees with that. */
export async function serves(port: number, client: AgentClient, release: string): Promise<void> {
  for (let i = 0; i < ANSWERS; i++)
    assert.equal(await answeringRelease(port), release, "the release that answers through the edge");
  const live = (await client.pool("web"))?.live;
  const replica = { state: "ready", weight: 100 };
  assert.deepEqual(
    live,
    {
      release,
      servers: { "web#0": replica, "web#1": replica },
      processes: {
        cache: "running",
        "feeder#0": "running",
        "web#0": "running",
        "web#1": "running",
        scheduler: "running",
      },
    },
    "what the host reports",
  );
  say(`✓ ${ANSWERS} of ${ANSWERS} answers through the edge are from ${release}`);
}

function answeringRelease(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path: "/", agent: false }, (response) => {
      const release = response.headers["x-release"];
      response
        .resume()
        .on("end", () => resolve(response.statusCode === 200 ? `${release}` : `HTTP ${response.statusCode}`));
    }).on("error", reject);
  });
}

/** Fails unless a text says this; prints what it was about. */
export function shows(text: string, pattern: RegExp, what: string): void {
  assert.match(text, pattern, what);
  say(`✓ ${what}`);
}
