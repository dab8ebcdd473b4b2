import { SHADOW, type SliSelector } from "../../model/gate/sli";

/** Most series at a time. Names come from the config, so that only many edges times many releases reach it. */
export const MAX_SERIES = 500;
/** Route, backend and server of requests that are counted together once there are too many series. */
const REST = "- _rest _rest";

/** Server, backend, route and release of requests: one row of the meter's tables. */
export interface Series {
  /** `edge route backend server`, with `-` for no route. */
  key: string;
  edge: string;
  route: string;
  backend: string;
  server: string;
  release: string | undefined;
  /** Start of the last slot that counts something of it, in milliseconds since the epoch. */
  lastSeen: number;
}

/** Finds the release that a server belongs to; undefined if it is not known (yet), or no release's. */
export type ReleaseOf = (edge: string, backend: string, server: string) => string | undefined;

/** The series by number, which stays as long as a slot counts it. */
export class SeriesTable {
  /** The series that takes a key's requests now. */
  private readonly current = new Map<string, number>();
  private readonly byIdentity = new Map<string, number>();
  private readonly rows: (Series | undefined)[] = [];

  constructor(private readonly releaseOf: ReleaseOf) {}

  /** Number of the series of a key; one that is new gets a number, or the common one of its edge where there are too many. */
  numberOf(key: string): number {
    return this.current.get(key) ?? this.look(key);
  }

  /** Looks which release a key's server is of now: after an undone promotion the next one may have a server of the same name. */
  look(key: string): number {
    const [edge = "", , backend = "", server = ""] = key.split(" ");
    const before = this.get(this.current.get(key) ?? -1);
    const number = this.restore(key, this.releaseOf(edge, backend, server) ?? before?.release);
    // The key of what is counted with others is not kept: there may be any number of them.
    if (this.rows[number]?.key === key) this.current.set(key, number);
    return number;
  }

  /** Number of the series of a key and a release. */
  restore(key: string, release: string | undefined): number {
    const identity = `${key} ${release ?? ""}`;
    const known = this.byIdentity.get(identity);
    if (known !== undefined) return known;
    const [edge = "", route = "", backend = "", server = ""] = key.split(" ");
    if (this.byIdentity.size >= MAX_SERIES && !key.endsWith(REST)) return this.restore(`${edge} ${REST}`, undefined);
    const free = this.rows.indexOf(undefined);
    const number = free < 0 ? this.rows.length : free;
    this.rows[number] = { key, edge, route, backend, server, release, lastSeen: Number.POSITIVE_INFINITY };
    this.byIdentity.set(identity, number);
    return number;
  }

  get(number: number): Series | undefined {
    return this.rows[number];
  }

  seen(number: number, at: number): void {
    const series = this.rows[number];
    if (series !== undefined) series.lastSeen = at;
  }

  /** Forgets series of which no slot counts anything any more. Returns their numbers, which are free again. */
  forgetBefore(oldest: number): number[] {
    const gone: number[] = [];
    for (const [number, series] of this.rows.entries()) {
      if (series === undefined || series.lastSeen >= oldest) continue;
      this.byIdentity.delete(`${series.key} ${series.release ?? ""}`);
      if (this.current.get(series.key) === number) this.current.delete(series.key);
      this.rows[number] = undefined;
      gone.push(number);
    }
    return gone;
  }

  /** Numbers of all series that a selector means. */
  matching({ edge, route, backend, server, release }: SliSelector): Set<number> {
    const matches = (series: Series | undefined) =>
      series?.edge === edge &&
      (route === undefined || series.route === route) &&
      (backend === undefined ? series.backend !== SHADOW : series.backend === backend) &&
      (server === undefined || series.server === server) &&
      (release === undefined || series.release === release);
    return new Set([...this.rows.keys()].filter((number) => matches(this.rows[number])));
  }

  *all(): Generator<[number, Series]> {
    for (const [number, series] of this.rows.entries()) if (series !== undefined) yield [number, series];
  }
}
