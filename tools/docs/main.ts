// `npm run docs`: writes the pages that are made from code, and removes those of what is gone.
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { rulePages } from "../../src/cli/migrations/page";

const FOLDER = path.resolve(__dirname, "../../docs/migrations");

async function main(): Promise<void> {
  await mkdir(FOLDER, { recursive: true });
  const pages = rulePages();
  for (const name of await readdir(FOLDER)) if (!pages.has(name)) await rm(path.join(FOLDER, name));
  for (const [name, text] of pages) await writeFile(path.join(FOLDER, name), text);
  console.log(`${pages.size} pages in docs/migrations`);
}

void main();
