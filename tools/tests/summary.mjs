// @ts-check

/** How node's runner says that it ended a file: its time was up, or the run was told to stop. @type {Set<unknown>} */
const ENDED_FROM_OUTSIDE = new Set(["testTimeoutFailure", "testAborted"]);

/**
 * @typedef {object} TestEvent what node's runner reports of a test, a suite or a file
 * @property {string} name
 * @property {number} nesting
 * @property {string} [file]
 * @property {boolean | string} [skip]
 * @property {boolean | string} [todo]
 * @property {{type?: string, error?: unknown}} [details]
 */
/**
 * @typedef {object} Summary
 * @property {number} passed
 * @property {{name: string, hung: string[]}[]} failed hung: the tests of a file that had not ended when its time was up
 * @property {{name: string, reason: string}[]} skipped
 */

/**
 * Counts leaf tests: a test with subtests, a suite and a file count only when they themselves failed, and not because
 * something in them did.
 */
export class TestCounter {
  /** @type {Summary} */
  summary = { passed: 0, failed: [], skipped: [] };
  /** The tests begun and not ended, by file and nesting. @type {Map<string, string[]>} */
  #running = new Map();
  /** Whether the tests one level deeper than the index belong to the test that ends next. @type {boolean[]} */
  #hasChildren = [];
  /** The names around the tests of a nesting, per file. @type {Map<string, string[]>} */
  #names = new Map();
  #files;

  /** @param {readonly string[]} files the files that are run; the runner reports each as a test of that name */
  constructor(files) {
    this.#files = new Set(files);
  }

  /** @param {TestEvent} event */
  began(event) {
    if (this.#files.has(event.name)) return;
    const file = event.file ?? "";
    const names = [...(this.#names.get(file) ?? []).slice(0, event.nesting), event.name];
    this.#names.set(file, names);
    this.#running.set(file, [...(this.#running.get(file) ?? []), names.join(" > ")]);
  }

  /** @param {TestEvent} event */
  passed(event) {
    const leaf = this.#ended(event);
    const { skip, todo } = event;
    if (skip !== undefined || todo !== undefined) {
      this.summary.skipped.push({ name: this.#fullName(event), reason: reasonOf(skip, todo) });
    } else if (leaf && !this.#files.has(event.name) && event.details?.type !== "suite") {
      this.summary.passed++;
    }
  }

  /** @param {TestEvent} event */
  failed(event) {
    this.#ended(event);
    if (failureType(event) === "subtestsFailed") return;
    if (event.todo !== undefined) {
      this.summary.skipped.push({ name: this.#fullName(event), reason: reasonOf(undefined, event.todo) });
      return;
    }
    this.summary.failed.push({ name: this.#fullName(event), hung: this.#hungIn(event) });
  }

  /**
   * Notes the end of a test; children are reported before their parent.
   *
   * @param {TestEvent} event
   * @returns {boolean} whether it had no subtests
   */
  #ended(event) {
    const leaf = this.#hasChildren[event.nesting] !== true;
    this.#hasChildren[event.nesting] = false;
    if (event.nesting > 0) this.#hasChildren[event.nesting - 1] = true;
    const running = this.#running.get(event.file ?? "");
    const index = running?.findLastIndex((name) => name === event.name || name.endsWith(` > ${event.name}`)) ?? -1;
    if (index >= 0) running?.splice(index, 1);
    return leaf;
  }

  /** @param {TestEvent} event */
  #hungIn(event) {
    if (!this.#files.has(event.name) || !ENDED_FROM_OUTSIDE.has(failureType(event))) return [];
    const running = this.#running.get(event.name) ?? [];
    return running.length > 0
      ? running
      : ["its process: all tests had, but something that they left open keeps it alive"];
  }

  /** @param {TestEvent} event */
  #fullName(event) {
    if (this.#files.has(event.name)) return event.name;
    const around = (this.#names.get(event.file ?? "") ?? []).slice(0, event.nesting);
    return [event.file ?? "", ...around, event.name].filter((part) => part !== "").join(" > ");
  }
}

/**
 * The lines at the end of a run: what hung, what was skipped and why, and the totals, which come last.
 *
 * @param {Summary} summary
 * @param {string} root paths are shown relative to it
 */
export function summaryLines({ passed, failed, skipped }, root) {
  /** @param {string} name */
  const shown = (name) => name.replace(`${root}/`, "");
  const lines = [];
  for (const { name, reason } of skipped) lines.push(`skipped: ${shown(name)} (${reason})`);
  for (const { name, hung } of failed) {
    lines.push(`failed: ${shown(name)}`);
    for (const test of hung) lines.push(`  had not ended: ${test}`);
  }
  lines.push(`${passed} passed, ${failed.length} failed, ${skipped.length} skipped`);
  return lines;
}

/**
 * A run that tested nothing has not shown anything, so it is not a success.
 *
 * @param {Summary} summary
 */
export function exitCode({ passed, failed }) {
  return failed.length > 0 || passed === 0 ? 1 : 0;
}

/**
 * @param {boolean | string | undefined} skip
 * @param {boolean | string | undefined} todo
 */
function reasonOf(skip, todo) {
  if (skip !== undefined) return typeof skip === "string" ? skip : "no reason given";
  return typeof todo === "string" ? `todo: ${todo}` : "todo";
}

/** @param {TestEvent} event */
function failureType({ details }) {
  const error = details?.error;
  return error instanceof Error && "failureType" in error ? error.failureType : undefined;
}
