import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";

const ROOT = path.resolve(__dirname, "..");
/** Folders and the folders or files that their code may import, beside itself. Tests, benchmarks and tools may import all. */
const ALLOWED: Record<string, string[]> = {
  model: [],
  parity: ["model/"],
  agent: ["model/"],
  provider: ["model/", "parity/", "agent/client/", "agent/api"],
  components: ["model/", "provider/classes/", "provider/resources/agent-ref"],
  policies: ["model/"],
  cli: ["model/", "parity/", "agent/client/", "agent/api"],
  stacks: ["components"],
};

function sourcesOf(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(ts|mjs|cjs)$/.test(name) && !name.includes("node_modules"))
    .map((name) => path.join(folder, name));
}

/** Files of this project that a source imports, from the checkout's root and without their endings. */
function importsOf(file: string): string[] {
  const text = readFileSync(path.join(ROOT, file), "utf8");
  const found = text.matchAll(/(?:from|import|require)\s*\(?\s*"(\.[^"]*)"/g);
  return [...found].map(([, target = ""]) => path.join(path.dirname(file), target));
}

test("imports between the folders go one way", () => {
  const folders = Object.entries(ALLOWED).map(([folder, allowed]) => {
    const imports = sourcesOf(folder).flatMap((file) => importsOf(file).map((target) => ({ file, target })));
    const across = imports.filter(({ target }) => target.split("/")[0] !== folder);
    const wrong = across.filter(({ target }) => !allowed.some((start) => `${target}/`.startsWith(start)));
    return { folder, across: across.length, wrong: wrong.map(({ file, target }) => `${file} imports ${target}`) };
  });
  assert.deepEqual(
    folders.flatMap(({ wrong }) => wrong),
    [],
  );
  // A pattern that finds no import would hold any layout.
  for (const { folder, across } of folders) assert.equal(across > 0, folder !== "model", folder);
});
