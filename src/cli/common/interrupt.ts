/**
 * Does work that may be stopped by Ctrl-C or SIGTERM.
 *
 * @returns whether it was stopped
 */
export async function untilInterrupted(work: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    await work(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
  return stop.signal.aborted;
}

/** Does something before a signal ends this process, unless somebody else sees to a good end. The returned function ends that. */
export function beforeSignalsEnd(cleanUp: () => void): () => void {
  const listeners = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal, index) => {
    const listener = () => {
      if (process.listenerCount(signal) > 1) return;
      cleanUp();
      process.exit(128 + ([2, 15, 1][index] ?? 0));
    };
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  return () => {
    for (const off of listeners) off();
  };
}
