/**
 * Histograms of whole milliseconds with log-linear buckets, as HdrHistogram has them (http://hdrhistogram.org): each power
 * of two is cut into {@link PER_OCTAVE} buckets of the same width. A bucket is told by its middle, so that what is read is at
 * most 1/(2 * PER_OCTAVE) = 0.8 % off; values below 2 * PER_OCTAVE are exact.
 */
const PER_OCTAVE = 64;
const OCTAVE_BITS = 6;
/** Longer values are counted as this, about 70 minutes: only tunnels and streams last as long. */
export const MAX_VALUE = 2 ** 22 - 1;
/** Number of buckets of a histogram. */
export const BUCKETS = bucketOf(MAX_VALUE) + 1;

/** Bucket of a whole number of at least 0. */
export function bucketOf(value: number): number {
  const capped = value > MAX_VALUE ? MAX_VALUE : value;
  if (capped < 2 * PER_OCTAVE) return capped;
  const shift = 31 - Math.clz32(capped) - OCTAVE_BITS;
  return shift * PER_OCTAVE + (capped >> shift);
}

/** Lowest value of a bucket. */
export function lowestOf(bucket: number): number {
  if (bucket < 2 * PER_OCTAVE) return bucket;
  const shift = (bucket >> OCTAVE_BITS) - 1;
  return (bucket - shift * PER_OCTAVE) * 2 ** shift;
}

/** Highest value of a bucket. */
export function highestOf(bucket: number): number {
  return lowestOf(bucket + 1) - 1;
}

/** The value that stands for a bucket. */
export function middleOf(bucket: number): number {
  return (lowestOf(bucket) + highestOf(bucket)) / 2;
}

/** A histogram as pairs of bucket and count, by bucket; buckets without values are left out. */
export type Sparse = readonly (readonly [bucket: number, count: number])[];

/** Values in a histogram. */
export function countOf(histogram: Sparse): number {
  return histogram.reduce((sum, [, count]) => sum + count, 0);
}

/** The histogram of everything in several ones. */
export function merge(histograms: readonly Sparse[]): Sparse {
  const counts = new Map<number, number>();
  for (const histogram of histograms)
    for (const [bucket, count] of histogram) counts.set(bucket, (counts.get(bucket) ?? 0) + count);
  return [...counts].sort(([a], [b]) => a - b);
}

/** Bucket of the value of a rank, 1 being the smallest value; undefined if there are not as many values. */
export function bucketOfRank(histogram: Sparse, rank: number): number | undefined {
  let seen = 0;
  for (const [bucket, count] of histogram) {
    seen += count;
    if (seen >= rank) return bucket;
  }
  return undefined;
}

/** The value that a share (0 to 1) of all values does not exceed, by nearest rank; nothing for an empty histogram. */
export function quantile(histogram: Sparse, share: number): number | undefined {
  const rank = Math.max(1, Math.ceil(countOf(histogram) * share));
  const bucket = bucketOfRank(histogram, rank);
  return bucket === undefined ? undefined : middleOf(bucket);
}

/** How many values certainly exceed a limit: those in buckets that lie above it as a whole. */
export function countAbove(histogram: Sparse, limit: number): number {
  return histogram.reduce((sum, [bucket, count]) => (lowestOf(bucket) > limit ? sum + count : sum), 0);
}
