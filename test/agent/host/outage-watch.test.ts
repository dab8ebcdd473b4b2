import assert from "node:assert/strict";
import test from "node:test";
import { OutageWatch } from "../../../src/agent/host/outage-watch";
import type { FolderLook } from "../../../src/agent/state/state-folder";
import { until } from "../../support/until";

test("a look that hangs keeps no other one waiting, and each thing has its own begin and end", async (t) => {
  const messages: string[] = [];
  const hanging: FolderLook = { subject: "claim", good: "is its own", see: () => new Promise(() => undefined) };
  const bad = { disk: true, right: false };
  const look = (subject: keyof typeof bad): FolderLook => ({
    subject,
    good: "is there",
    see: async () => ({ problems: bad[subject] ? [`no ${subject}`] : [] }),
  });
  let guarded = true;
  const unused = () => assert.fail("no edge is there");
  const watch = new OutageWatch({
    host: {
      working: () => ({ edges: {}, backends: {}, pools: {}, routes: {} }),
      waits: unused,
      haproxy: unused,
      backendsHealth: unused,
      reconciler: { bringBack: unused },
    },
    events: { emit: (message) => messages.push(message.replace(/ after .*/, "")) },
    folder: [hanging, look("disk"), look("right")],
    guarded: () => guarded,
  });
  t.after(() => watch.close());
  watch.start();
  await until("the disk to be told", () => messages.length === 1);
  Object.assign(bad, { disk: false, right: true });
  guarded = false;
  await until("everything to be told", () => messages.length === 4);
  assert.deepEqual(messages.toSorted(), [
    "agent: its disk is there again,",
    "agent: no disk",
    "agent: no right",
    "agent: nothing restarts it when it dies",
  ]);
});
