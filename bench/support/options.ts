import type { Scope } from "./scope";

/** Options of every benchmark. */
export interface Options {
  /** Smoke test: as little as shows that it works. */
  quick: boolean;
  scope: Scope;
  /** One line for people about what goes on. */
  say(line: string): void;
}
