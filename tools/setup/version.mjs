// @ts-check

/**
 * The first dotted number in a text such as `v3.220.0`, `HAProxy version 2.6.12-1+deb12u4` or `20.20.2`.
 *
 * @param {string} text
 * @returns {string | undefined} two or three numbers joined by dots
 */
export function parseVersion(text) {
  return /(?<![\d.])\d+\.\d+(\.\d+)?/.exec(text)?.[0];
}

/**
 * Whether `version` is at least `minimum`, comparing number by number; a missing number counts as 0.
 *
 * @param {string} version for example `2.6.12`
 * @param {string} minimum for example `2.6`
 */
export function atLeast(version, minimum) {
  const actual = version.split(".").map(Number);
  const wanted = minimum.split(".").map(Number);
  for (let i = 0; i < Math.max(actual.length, wanted.length); i++) {
    const difference = (actual[i] ?? 0) - (wanted[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}
