import { butNotUp } from "../../model/protocol/transaction";
import type { Left } from "../evidence/recovery";
import { concerns } from "../state/desired";
import { untilUp } from "../transactions/until-up";
import type { Parts } from "./compose";

/** Brings the host to its committed state: adopts what runs, and undoes the transactions that were left open. */
export async function recover(parts: Parts): Promise<void> {
  const { open, meter, host, outages, events, evidence, transactions } = parts;
  const isCommitted = (id: string) => host.committed.transactions.some((entry) => entry.id === id);
  await closeInJournal(parts, isCommitted);
  // Traffic does not depend on it: an agent without a meter says so, and does everything else.
  await meter.start().catch((error: Error) => events.emit(`the meter can't start: ${error.message}`));
  await host.boot();
  outages.start();
  const left = await Promise.all(
    open.map(async (one): Promise<Left> => {
      const { id, target } = one;
      if (isCommitted(id)) return one;
      const notUp = await untilUp(host.supervisor, concerns(target, [host.committed]).pools);
      events.emit(`the transaction on ${target} is undone${butNotUp(notUp)}`, { transaction: id, target });
      transactions.undoneAtStart(one, notUp);
      return { ...one, notUp };
    }),
  );
  evidence.recover(left);
  void host.reconciler.inBackground([], () => host.retainedReleases.reconcile(host.committed.pools));
  void host.reconciler.inBackground([], () =>
    host.artifacts.prune(Object.values(host.committed.pools), { starting: true }),
  );
}

/** Records the end of the transactions that were left open: the committed state says which of them had ended. */
async function closeInJournal({ open, events, journal }: Parts, isCommitted: (id: string) => boolean): Promise<void> {
  for (const { id, target, owner, at } of open) {
    const committed = isCommitted(id);
    const what = committed ? "had been committed" : "is being undone";
    events.emit(
      `the agent had stopped during the transaction of ${owner.who} on ${target} (since ${at}), which ${what}`,
      { transaction: id, target },
    );
    await journal.append(committed ? { kind: "committed", id } : { kind: "undone", id });
  }
}
