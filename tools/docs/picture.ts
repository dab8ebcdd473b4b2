// `npm run picture [file]`: draws the README's picture, the evidence page of a breached promotion, with a headless Chromium.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { renderPage } from "../../src/evidence/page";
import { sample } from "../../test/evidence/sample";
import { withPage } from "../../test/support/chromium";

const PICTURE = path.resolve(__dirname, "../../docs/evidence.png");
const WIDTH = 1000;
/** As much of the page as a README should show: the verdict, the stages and the charts. */
const HEIGHT = 1300;

async function main(file = PICTURE): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "sl-picture-"));
  try {
    const page = path.join(folder, "evidence.html");
    await writeFile(page, renderPage(sample("undone")));
    const clip = { x: 0, y: 0, width: WIDTH, height: HEIGHT, scale: 1 };
    await writeFile(file, await withPage(pathToFileURL(page).href, (shown) => shown.screenshot({ clip })));
  } finally {
    await rm(folder, { recursive: true });
  }
  console.log(file);
}

void main(process.argv[2]);
