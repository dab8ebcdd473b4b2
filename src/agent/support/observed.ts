import { withTimeout } from "../../support/waiting";

/** Time to observe everything on the host, in milliseconds: less than clients wait for an answer. */
const OBSERVE_DEADLINE_MS = 8000;

/** An observed part did not answer in time. */
export class ObservationLate extends Error {
  override readonly name = "ObservationLate";
}

/** The result of an observation; rejects when that takes longer than its client waits for the answer. */
export function observed<T>(observation: Promise<T>, who = "HAProxy"): Promise<T> {
  return withTimeout(observation, OBSERVE_DEADLINE_MS, () => {
    throw new ObservationLate(`${who} did not answer within ${OBSERVE_DEADLINE_MS} ms: is it stopped?`);
  });
}
