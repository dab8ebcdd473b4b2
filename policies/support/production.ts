import { z } from "zod";
import { quoteValue } from "../../src/model/types/messages";
import type { Stack } from "./stack";

/** Stack config that says whether a stack is production, whatever its name is. */
const PRODUCTION_KEY = "sluice:production";
/** `prod` or `production` as a word of the name, such as `prod`, `eu-production` or `prod2`; not `pre-prod` or `nonprod`. */
export const PRODUCTION_NAME = "(?<!(?:pre|non|not)[-_.]?)(?<![a-z])prod(?:uction)?(?![a-z])";

/** Config of a policy that is stricter on production stacks. */
export const production = z
  .string()
  .refine(isExpression, { error: ({ input }) => `${quoteValue(input)} is not a regular expression: correct it` })
  .default(PRODUCTION_NAME)
  .describe(`Regular expression of the names of production stacks; stack config ${PRODUCTION_KEY} goes before it`);

export function isProduction({ name, config }: Pick<Stack, "name" | "config">, pattern: string): boolean {
  const declared = config[PRODUCTION_KEY];
  // Anything but a clear no leaves the strict rules in force.
  if (declared !== undefined) return declared !== "false";
  return new RegExp(pattern, "i").test(name);
}

function isExpression(text: string): boolean {
  try {
    new RegExp(text, "i");
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
