import type { z } from "zod";
import type { Judged, Kind, Unsure } from "./judged";
import type { Stack } from "./stack";

type Level = "advisory" | "mandatory";

/** Something that speaks against a resource. */
export interface Finding {
  /** Property that it is about, such as `stages[1].split`. @default the resource as a whole */
  at?: string | undefined;
  /** Offending value and remedy, in one sentence; never a secret's value. */
  message: string;
  /** Whether it is only said, whatever the policy's level is. @default false */
  advisory?: boolean | undefined;
  /** Whether it refuses a rollback, too: what else speaks against one is only said. @default false */
  evenBack?: boolean | undefined;
}

/** A resource of the stack that was judged before, in the same run. */
export interface Seen {
  urn: string;
  kind: Kind;
  inputs: Unsure<Judged[Kind]>;
}

/** Facts that a policy judges a resource by. */
export interface Circumstances<Config> {
  config: Config;
  stack: Stack;
  urn: string;
  now: Date;
  /** The resources of the stack so far, itself left out: what it depends on is always among them. */
  others: readonly Seen[];
}

// biome-ignore lint/suspicious/noExplicitAny: any object, as zod itself has it.
type AnyObject = z.ZodObject<any>;

/**
 * One rule. Its judgement is pure: what is not known yet in a preview is undefined, nothing is concluded from it, and the
 * update judges again.
 */
export interface Policy<Schema extends AnyObject = AnyObject> {
  /** Lower-case words with "-" between them. */
  name: string;
  /** Purpose, in one sentence. */
  description: string;
  level: Level;
  /** Its part of the policy pack's config, with descriptions and defaults. */
  config: Schema;
  judge?: {
    [K in Kind]?: (inputs: Unsure<Judged[K]>, circumstances: Circumstances<z.output<Schema>>) => Finding[];
  };
  /** Judges the stack as a whole at the end of a preview; of an update too, but then all is done already. */
  judgeStack?: (circumstances: Omit<Circumstances<z.output<Schema>>, "urn">) => Finding[];
}

/** Keeps the type of the config together with the judgement. */
export function policy<Schema extends AnyObject>(definition: Policy<Schema>): Policy<Schema> {
  return definition;
}
