import { z } from "zod";
import { releaseNeeds } from "../policy/migration-set";
import { quoteValue } from "../types/messages";
import { absolutePath, hasControl, releaseId } from "../types/names";

export const release = z.strictObject({
  /** Id of the release, shown everywhere. */
  id: releaseId,
  /** Folder of the release on the host. */
  path: absolutePath,
  /** Revision of its source, for people. @default none */
  revision: z
    .string()
    .max(200)
    .refine((value) => !hasControl(value), {
      error: ({ input }) => `${quoteValue(input)} holds a control character: remove it`,
    })
    .optional(),
  ...releaseNeeds,
});
export type Release = z.output<typeof release>;
