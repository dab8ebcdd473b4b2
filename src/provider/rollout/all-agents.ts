import type { StepInput } from "../../model/protocol/transaction";
import type { OpenPart, Part } from "./transaction";

/** Runs a step on all agents at once, after each of them has said that it can: none changes before the others agree. */
export async function runOnAll<P extends Part>(
  parts: readonly OpenPart<P>[],
  stepOf: (part: P) => StepInput,
): Promise<void> {
  // One alone is asked by the step itself.
  if (parts.length > 1) await assertAccepted(parts, stepOf);
  await Promise.all(parts.map((part) => part.run(stepOf(part))));
}

/** Throws what speaks against a step now, of all agents together. */
export async function assertAccepted<P extends Part>(
  parts: readonly P[],
  stepOf: (part: P) => StepInput,
): Promise<void> {
  const found = await Promise.all(
    parts.map(async (part) => {
      const problems = await part.client.check(stepOf(part), undefined, { now: true });
      return problems.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`));
    }),
  );
  const problems = found.flat();
  if (problems.length > 0) throw new Error(problems.join("\n"));
}
