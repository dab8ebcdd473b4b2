// @ts-check
import { readdirSync } from "node:fs";
import path from "node:path";

/**
 * The test files below `test/` whose path, as seen from the checkout, contains one of the filters; all without a filter.
 * Listed here because the runner of Node.js 20 takes no patterns.
 *
 * @param {string} root the checkout
 * @param {readonly string[]} filters
 * @returns {string[]} relative paths, sorted
 */
export function findTestFiles(root, filters) {
  const files = readdirSync(path.join(root, "test"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => path.join("test", name))
    .sort();
  return filters.length === 0 ? files : files.filter((file) => filters.some((filter) => file.includes(filter)));
}
