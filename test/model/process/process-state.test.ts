import assert from "node:assert/strict";
import test from "node:test";
import {
  nextState,
  PROCESS_CHANGES,
  PROCESS_STATES,
  type ProcessChange,
  type ProcessState,
} from "../../../src/model/process/process-state";

/** Every transition that there is; all other pairs leave the state as it is. */
const TABLE = `
starting up running
starting quiet quieting
starting drain draining
starting stop stopping
starting gone stopped
starting wait backoff
starting give-up failed
running quiet quieting
running drain draining
running stop stopping
running gone stopped
running wait backoff
running give-up failed
quieting drain draining
quieting stop stopping
quieting gone stopped
draining keep running
draining stop stopping
draining gone stopped
stopping gone stopped
stopped launch starting
stopped wait backoff
stopped give-up failed
backoff launch starting
backoff gone stopped
backoff give-up failed
failed launch starting
failed gone stopped
`;

test("each state changes exactly as the table says", () => {
  const expected = new Map(
    TABLE.trim()
      .split("\n")
      .map((line) => line.split(" "))
      .map(([from, change, to]) => [`${from} ${change}`, to]),
  );
  for (const state of PROCESS_STATES)
    for (const change of PROCESS_CHANGES)
      assert.equal(nextState(state, change), expected.get(`${state} ${change}`) ?? state, `${state} ${change}`);
});

test("every state can be reached, and left", () => {
  const reached = new Set<ProcessState>(["stopped"]);
  for (const _ of PROCESS_STATES)
    for (const state of [...reached]) for (const change of PROCESS_CHANGES) reached.add(nextState(state, change));
  assert.deepEqual([...reached].toSorted(), [...PROCESS_STATES].toSorted());
  const leaving = (state: ProcessState) =>
    PROCESS_CHANGES.filter((change: ProcessChange) => nextState(state, change) !== state);
  for (const state of PROCESS_STATES) assert.notDeepEqual(leaving(state), [], state);
});
