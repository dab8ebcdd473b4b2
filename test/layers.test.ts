import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import ts from "typescript";

const ROOT = path.resolve(__dirname, "..");

/** Folders of ours that the code of a folder may import, types aside; the folder itself always. */
const ARROWS: Record<string, string[]> = {
  "src/model": [],
  "src/migrations": ["src/model"],
  "src/parity": ["src/model"],
  "src/evidence": ["src/model"],
  policies: ["src/model"],
  "src/support": [],
  "src/agent": ["src/model", "src/evidence", "src/support"],
  "src/provider": ["src/model", "src/agent/client", "src/parity", "src/migrations", "src/support"],
  components: ["src/model", "src/provider/classes"],
  stacks: ["components"],
  "src/cli": ["src/model", "src/agent/client", "src/parity", "src/migrations", "src/evidence", "src/support"],
};
/** These compute. */
const PURE = ["src/model", "src/migrations", "src/parity/compare", "src/evidence"];
/** Folders that it may import as types only: they are gone at run time. */
const TYPE_ARROWS: Record<string, string[]> = {
  "src/provider": ["src/agent/api/answers"],
  components: ["src/provider/resources"],
  "src/cli": ["src/agent/api/answers"],
};
/**
 * Packages of code that computes, and neither reads nor writes anything. Node.js's byte strings and histograms only hold data; parsers
 * of SQL read their own code when they are loaded, and nothing after that.
 */
const PURE_PACKAGES = [
  "zod",
  "node:buffer",
  "node:perf_hooks",
  "libpg-query",
  "node-sql-parser/build/mysql",
  "node-sql-parser/build/sqlite",
];

interface Import {
  file: string;
  from: string;
  typeOnly: boolean;
}

function sourcesIn(folder: string): string[] {
  // A folder without any file yet is not in a fresh clone.
  if (!existsSync(path.join(ROOT, folder))) return [];
  return readdirSync(path.join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.[cm]?tsx?$/.test(entry.name) && !entry.name.endsWith(".d.ts"))
    .map((entry) => path.relative(ROOT, path.join(entry.parentPath, entry.name)))
    .filter((file) => !file.includes("node_modules"));
}

/** Every module that a file names: imports, re-exports, `import()` and `require()`. */
function importsOf(file: string): Import[] {
  const source = ts.createSourceFile(file, readFileSync(path.join(ROOT, file), "utf8"), ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const add = (from: ts.Node | undefined, typeOnly: boolean) => {
    if (from !== undefined && ts.isStringLiteralLike(from)) found.push({ file, from: from.text, typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypeOnly(node.importClause));
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true);
    else if (ts.isCallExpression(node) && /^(?:import|require)$/.test(node.expression.getText()))
      add(node.arguments[0], false);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function isTypeOnly(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const names = clause.namedBindings;
  return (
    clause.name === undefined &&
    names !== undefined &&
    ts.isNamedImports(names) &&
    names.elements.every((name) => name.isTypeOnly)
  );
}

/** The folder that a relative import leads to, such as `src/agent/client/client`. */
function target({ file, from }: Import): string {
  return path.join(path.dirname(file), from);
}

const within = (place: string, folder: string) => place === folder || place.startsWith(`${folder}/`);

for (const [folder, allowed] of Object.entries(ARROWS))
  test(`${folder}/ imports ${allowed.length === 0 ? "nothing of ours" : `only ${allowed.join(" and ")}`}`, () => {
    const wrong = sourcesIn(folder)
      .flatMap(importsOf)
      .filter(({ from }) => from.startsWith("."))
      .filter((found) => {
        const may = [folder, ...allowed, ...(found.typeOnly ? (TYPE_ARROWS[folder] ?? []) : [])];
        return !may.some((place) => within(target(found), place));
      })
      .map(({ file, from }) => `${file} imports ${from}`);
    assert.deepEqual(wrong, []);
  });

test("code that computes does no input or output", () => {
  const imports = PURE.flatMap(sourcesIn)
    .flatMap(importsOf)
    .filter(({ from }) => !from.startsWith("."));
  assert.ok(imports.length > 0);
  assert.deepEqual(
    imports.filter(({ from }) => !PURE_PACKAGES.includes(from)),
    [],
  );
  const effects =
    /\b(?:process\.(?:env|argv|cwd|pid|exit|std|hrtime|on)\b|fetch\(|console\.|set(?:Timeout|Interval|Immediate)\(|Date\.now|Math\.random|new Date\(\))/;
  for (const file of PURE.flatMap(sourcesIn)) {
    const code = readFileSync(path.join(ROOT, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*|"[^"\n]*"/g, "");
    const used = code.split("\n").filter((line) => effects.test(line));
    assert.deepEqual(used, [], file);
  }
});

test("what is imported exists, so that no arrow hides behind a wrong path", () => {
  const files = new Set(Object.keys(ARROWS).flatMap(sourcesIn));
  const model = PURE.flatMap(sourcesIn)
    .flatMap(importsOf)
    .filter(({ from }) => from.startsWith("."));
  for (const found of model) assert.ok(files.has(`${target(found)}.ts`), `${found.file}: ${found.from}`);
});
