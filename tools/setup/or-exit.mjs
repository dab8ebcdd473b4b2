// @ts-check
import { constants } from "node:os";
import { stopCommands } from "./command.mjs";
import { setup } from "./setup.mjs";

/**
 * Sets up, as the first part of a command: ends the process with 1 when a step failed (it has been printed), and ends
 * what the set-up runs when the process is told to stop.
 *
 * @param {string} root the checkout
 */
export async function setupOrExit(root) {
  const signals = /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]);
  /** @param {NodeJS.Signals} signal */
  const stop = (signal) => {
    stopCommands();
    console.error(`✗ set-up stopped by ${signal}`);
    process.exit(128 + constants.signals[signal]);
  };
  for (const signal of signals) process.once(signal, stop);
  try {
    return await setup({ root });
  } catch {
    // The step has printed what failed and what to do.
    process.exit(1);
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}
