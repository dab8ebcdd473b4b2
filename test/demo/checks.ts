import assert from "node:assert/strict";
import { get } from "node:http";
import { say } from "./screen";

const ANSWERS = 10;

/** Fails unless every answer at a port comes from this release. */
export async function answersFrom(port: number, release: string): Promise<void> {
  for (let i = 0; i < ANSWERS; i++)
    assert.equal(await answeringRelease(port), release, "the release that answers through the edge");
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
