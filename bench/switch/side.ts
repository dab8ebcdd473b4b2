/** One way to switch traffic from a release to the next. */
export interface Side {
  name: string;
  /** Target of the load. */
  url: string;
  /** Brings a release into service; resolves with the time at which it was healthy, in ms since the epoch. */
  promote(release: string): Promise<number>;
}

/** Between two looks at whether a new release is healthy; the same for both sides. */
export const PROBE_INTERVAL_MS = 25;
export const REPLICAS = 2;
