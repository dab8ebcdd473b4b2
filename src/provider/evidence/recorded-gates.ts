import { MAX_NOTE_TEXT, type StageGate } from "../../model/evidence/note";
import { type Gate, isMetered, judgesMirror } from "../../model/gate/gate";
import { conditionsOf } from "../../model/gate/gate-text";
import { thresholdOf } from "../../model/gate/threshold";
import { GateBreach, type GateContext, type GateRecord, namesOf, watchGates } from "../gates";
import type { SendNote } from "./note-sender";

/** Longest name of a value that a probe found. */
const MAX_KEY = 100;

/** Watches gates as {@link watchGates} does, and records their limits, each probe and the outcome for the evidence. */
export async function watchAndRecord(
  gates: readonly Gate[],
  context: GateContext,
  { stage, sendNote }: { stage: string; sendNote: SendNote },
): Promise<GateRecord[]> {
  const names = namesOf(gates);
  sendNote({ kind: "gates", stage, gates: gates.map((gate, index) => declared(gate, names[index] ?? gate.kind)) });
  const outcomes = (records: readonly GateRecord[], breach?: GateBreach) => {
    for (const { gate, outcome } of records)
      sendNote({
        ...{ kind: "outcome", at: Date.now(), stage, gate, outcome },
        ...(breach?.gate === gate ? { reason: breach.reason.slice(0, MAX_NOTE_TEXT) } : {}),
      });
  };
  try {
    const records = await watchGates(gates, {
      ...context,
      record: (gate, measurement) => {
        const { at, verdict, text, values } = measurement;
        sendNote({
          kind: "probe",
          stage,
          gate,
          at,
          verdict,
          text: text.slice(0, MAX_NOTE_TEXT),
          values: finite(values),
        });
        context.record?.(gate, measurement);
      },
    });
    outcomes(records);
    return records;
  } catch (error) {
    if (error instanceof GateBreach) outcomes(error.records, error);
    throw error;
  }
}

function declared(gate: Gate, name: string): StageGate {
  const thresholds = isMetered(gate) ? gate.thresholds : [];
  const of = judgesMirror(gate) ? { shadow: true } : {};
  const bounds = thresholds.map(thresholdOf).map(({ metric, limit }) => ({ metric, limit, ...of }));
  return {
    gate: name,
    kind: gate.kind,
    limits: conditionsOf(gate).map((each) => each.slice(0, MAX_NOTE_TEXT)),
    bounds,
  };
}

/** JSON has no other numbers. */
function finite(values: Record<string, number>): Record<string, number> {
  const entries = Object.entries(values).filter(([, value]) => Number.isFinite(value));
  return Object.fromEntries(entries.map(([key, value]) => [key.slice(0, MAX_KEY), value]));
}
