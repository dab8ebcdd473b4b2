import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { chromiumProblem } from "../support/chromium";

const ROOT = path.resolve(__dirname, "../..");
const README = readFileSync(path.join(ROOT, "README.md"), "utf8");

/** All pages that a reader may meet. */
function pages(): string[] {
  const below = (folder: string) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md") && !name.includes("node_modules"))
      .map((name) => path.join(folder, name));
  return ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ...below("docs"), ...below("stacks"), ...below("bench")];
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): string[] {
  const headings = readFileSync(page, "utf8").matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

test("links and pictures of all pages lead to what is there", () => {
  let seen = 0;
  const dead = pages().flatMap((page) => {
    const text = readFileSync(path.join(ROOT, page), "utf8").replace(/```[\s\S]*?```|`[^`\n]*`/g, "");
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)|src="([^"]+)"/g)].map(
      ([, link, source]) => link ?? source ?? "",
    );
    const own = targets.filter((target) => !/^[a-z]+:/.test(target));
    seen += own.length;
    return own.flatMap((target) => {
      const [file = "", anchor] = target.split("#");
      const to = file === "" ? path.join(ROOT, page) : path.resolve(ROOT, path.dirname(page), file);
      if (!existsSync(to)) return [`${page}: ${target}`];
      return anchor === undefined || anchorsOf(to).includes(anchor) ? [] : [`${page}: ${target}`];
    });
  });
  assert.deepEqual(dead, []);
  assert.ok(seen > 50, `only ${seen} links were found`);
});

test("the README's program is one that type-checks", async () => {
  const [, program] = /```ts\n([\s\S]*?)```/.exec(README) ?? [];
  assert.ok(program, "the README has no program");
  // As deep as a stack's program, so that its imports lead where theirs do.
  await mkdir(path.join(ROOT, ".sluice"), { recursive: true });
  const folder = await mkdtemp(path.join(ROOT, ".sluice/readme-"));
  try {
    await writeFile(path.join(folder, "index.ts"), program);
    const config = { extends: "../../tsconfig.json", include: ["index.ts"] };
    await writeFile(path.join(folder, "tsconfig.json"), JSON.stringify(config));
    execFileSync(path.join(ROOT, "node_modules/.bin/tsc"), ["-p", folder], { encoding: "utf8", stdio: "pipe" });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("the README's picture is drawn again from an evidence page", { skip: chromiumProblem() ?? false }, async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "sl-readme-"));
  try {
    const file = path.join(folder, "evidence.png");
    execFileSync("npm", ["run", "picture", "--silent", "--", file], { cwd: ROOT, stdio: "pipe" });
    const drawn = await readFile(file);
    const kept = await readFile(path.join(ROOT, "docs/evidence.png"));
    assert.deepEqual(sizeOf(drawn), sizeOf(kept));
    // A page that did not load is white, and a few kilobytes in size.
    assert.ok(drawn.length > kept.length / 2, `${drawn.length} bytes against ${kept.length}`);
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** Width and height of a PNG, in pixels. */
function sizeOf(png: Buffer): number[] {
  assert.equal(png.toString("latin1", 1, 4), "PNG");
  return [png.readUInt32BE(16), png.readUInt32BE(20)];
}
