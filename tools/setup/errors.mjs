// @ts-check

/** Why a set-up step could not be done, and what to do about it. */
export class SetupError extends Error {
  /**
   * @param {string} why subject and offending value
   * @param {string} remedy what the reader should do, ideally one command
   * @param {string} [output] what the failing command printed
   */
  constructor(why, remedy, output = "") {
    super(why);
    this.name = "SetupError";
    this.remedy = remedy;
    this.output = output;
  }
}

/**
 * The message of anything that was thrown.
 *
 * @param {unknown} error
 */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * The `code` of a system error, such as `ENOENT`.
 *
 * @param {unknown} error
 */
export function codeOf(error) {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
