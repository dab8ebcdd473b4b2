import { type LoadReport, summarize } from "../load/report";
import type { Story } from "./story";

/** Says what of a story's load was lost, if anything; a load that proves nothing counts as lost, too. */
export function lossOf(load: LoadReport | undefined, { bad = [], load: mix }: Story): string | undefined {
  if (load === undefined) return "the load was never measured";
  const { requests, failed, badAnswers, websockets, websocketsCut, streams, streamsCut, failures } = load;
  // Whole answers of a release that is to answer badly: the story tells of them.
  const expectedFailures = bad.reduce((sum, release) => sum + (badAnswers[release] ?? 0), 0);
  if (failed - expectedFailures + websocketsCut + streamsCut > 0)
    return `the load lost something: ${failures.map(({ time, kind, error }) => `\n  ${time} ${kind}: ${error}`).join("")}`;
  const ran = [requests, ...(mix.websockets ? [websockets] : []), ...(mix.streams ? [streams] : [])];
  if (Math.min(...ran) === 0) return `the load did not run as it should: ${summarize(load)}`;
  return undefined;
}
