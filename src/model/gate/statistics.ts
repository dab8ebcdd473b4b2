import { bucketOfRank, countAbove, countOf, highestOf, type Sparse } from "./histogram";

/** Lanczos' approximation of ln gamma (g = 7, n = 9), for x > 0: about 15 digits. */
const LANCZOS = [
  0.9999999999998099, 676.5203681218851, -1259.1392167224028, 771.3234287776531, -176.6150291621406, 12.507343278686905,
  -0.13857109526572012, 9.984369578019572e-6, 1.5056327351493116e-7,
];

function lnGamma(x: number): number {
  const z = x - 1;
  const t = z + 7.5;
  const sum = LANCZOS.reduce((total, term, index) => (index === 0 ? term : total + term / (z + index)), 0);
  return 0.5 * Math.log(2 * Math.PI) + (z + 0.5) * Math.log(t) - t + Math.log(sum);
}

const TINY = 1e-300;
const PRECISION = 1e-14;
const MAX_TERMS = 100_000;

/** Regularized incomplete beta function by its continued fraction (DLMF 8.17.22, Lentz's method). */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(lnGamma(a + b) - lnGamma(a) - lnGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  const keep = (value: number) => (Math.abs(value) < TINY ? TINY : value);
  let c = 1;
  let d = 1 / keep(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m <= MAX_TERMS; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / keep(1 + even * d);
    c = keep(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / keep(1 + odd * d);
    c = keep(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < PRECISION) break;
  }
  return front * fraction;
}

/** Probability of at least `k` successes in `n` trials with probability `p` each. */
export function binomialTail(k: number, n: number, p: number): number {
  if (k <= 0) return 1;
  if (k > n) return 0;
  return incompleteBeta(p, k, n - k + 1);
}

/** Bad ones of all requests of a side. */
export interface Proportion {
  bad: number;
  of: number;
}

/**
 * One-sided p-value against "the candidate's share of bad requests is at most `tolerance` times the stable side's": given
 * how many are bad on both sides together, the candidate's are binomial (the conditional test of Przyborowski and Wilenski
 * 1940, "Homogeneity of results in testing samples from Poisson series"). It is exact at any size, and for shares that are
 * not small it errs towards not raising the alarm.
 */
export function proportionPValue(candidate: Proportion, stable: Proportion, tolerance = 1): number {
  const both = candidate.bad + stable.bad;
  const weight = candidate.of * tolerance;
  return both === 0 ? 1 : binomialTail(candidate.bad, both, weight / (weight + stable.of));
}

export type Comparison = "worse" | "not worse" | "too few";

/** Whether a candidate's share of bad requests is above `tolerance` times the stable side's, wrongly so with a probability of at most `alpha`. */
export function compareProportions(
  candidate: Proportion,
  stable: Proportion,
  { alpha, tolerance = 1 }: { alpha: number; tolerance?: number },
): Comparison {
  // With all of its requests bad and none of the other side's, it must be possible at all to be sure.
  if (proportionPValue({ ...candidate, bad: candidate.of }, { ...stable, bad: 0 }, tolerance) > alpha) return "too few";
  return proportionPValue(candidate, stable, tolerance) <= alpha ? "worse" : "not worse";
}

/**
 * Whether a candidate's quantile is above `tolerance` times the stable side's, wrongly so with a probability of at most
 * `alpha`, whatever the distributions. Half of `alpha` goes to an upper confidence bound of the stable side's quantile (an
 * order statistic), half to the sign test that more of the candidate's values exceed it than may (Conover, "Practical
 * Nonparametric Statistics", 3.1 and 3.2). Buckets are read so that their width never raises the alarm.
 *
 * @param share of values that the quantile bounds, such as 0.95
 */
export function compareQuantiles(
  candidate: Sparse,
  stable: Sparse,
  share: number,
  { alpha, tolerance = 1 }: { alpha: number; tolerance?: number },
): Comparison {
  const [of, ofStable] = [countOf(candidate), countOf(stable)];
  const rank = upperRank(ofStable, share, alpha / 2);
  const bucket = rank === undefined ? undefined : bucketOfRank(stable, rank);
  // With all values above, it must be possible at all to be sure.
  if (bucket === undefined || binomialTail(of, of, 1 - share) > alpha / 2) return "too few";
  const exceeding = countAbove(candidate, highestOf(bucket) * tolerance);
  return binomialTail(exceeding, of, 1 - share) <= alpha / 2 ? "worse" : "not worse";
}

/** Lowest rank whose value is above the true quantile but for a probability of `alpha`; undefined if no value is. */
function upperRank(of: number, share: number, alpha: number): number | undefined {
  if (of === 0 || binomialTail(of, of, share) > alpha) return undefined;
  let [low, high] = [1, of];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (binomialTail(middle, of, share) <= alpha) high = middle;
    else low = middle + 1;
  }
  return low;
}
