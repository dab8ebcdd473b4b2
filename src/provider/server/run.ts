import { readFileSync } from "node:fs";

/** Commands whose preview shows what goes. */
const REMOVING = ["preview", "pre", "up", "update", "destroy", "down", "dn"];
/** A command that reads everything, too, and removes nothing. */
const REFRESH = "refresh";

/** A resource that the stack has. */
interface Known {
  urn: string;
  targets: readonly string[];
  /** Effect of its removal, in words. */
  removal: string;
}

/**
 * Requests of the engine in one run. It reads every resource that the stack has before anything else, and a provider
 * hears nothing of those that only a delete is left for until they are deleted, which a preview does not do.
 */
export class Run {
  /** The URN by which the program has declared each target. */
  readonly #declared = new Map<string, string>();
  readonly #known = new Map<string, Known>();
  /** Whether the end of the run says nothing of what the program declares. */
  #silent = false;

  clear(): void {
    this.#declared.clear();
    this.#known.clear();
    this.#silent = false;
  }

  /** Notes what the program declares; the URN by which it did so first. */
  declare(target: string, urn: string): string {
    const first = this.#declared.get(target) ?? urn;
    this.#declared.set(target, first);
    return first;
  }

  declares = (target: string): boolean => this.#declared.has(target);

  knows(resource: Known): void {
    this.#known.set(resource.urn, resource);
  }

  /** An update tells itself what it does; after a failure the program may not have come to its end. */
  silence(): void {
    this.#silent = true;
  }

  /** Resources that a preview would remove, once it has ended. */
  removed(command = engineCommand()): Known[] {
    if (this.#silent || (this.#declared.size === 0 && !removes(command))) return [];
    return [...this.#known.values()].filter(({ targets }) => targets.length > 0 && !targets.some(this.declares));
  }
}

/** The first word that is a command decides: a stack may be called as another one is. */
function removes(command: readonly string[]): boolean {
  return REMOVING.includes(command.find((word) => word === REFRESH || REMOVING.includes(word)) ?? "");
}

/** The command line of the engine, which alone tells a destroy from a refresh before anything is destroyed. */
function engineCommand(): string[] {
  try {
    return readFileSync(`/proc/${process.ppid}/cmdline`, "utf8").split("\0").slice(1);
  } catch {
    // The engine has ended, or its system has no /proc: then nothing is said of a destroy.
    return [];
  }
}
