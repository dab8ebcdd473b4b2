import { ask } from "./runtime-api";

/** Asks for the rows of backends alone, which says everything about them without one row per server. */
const COMMAND = "show stat -1 2 -1";

export interface BackendTotals {
  /** Sum of the weights of the servers that take requests; 0 where none does. */
  weight: number;
  /** Requests that were answered since the worker's start. */
  answered: number;
  /** Those with a status from 500. */
  failed: number;
}

/** Totals of each backend of the worker behind a socket. */
export async function backendTotals(socket: string): Promise<Map<string, BackendTotals>> {
  const [head = "", ...lines] = (await ask(socket, COMMAND, { retry: true })).split("\n");
  const titles = head.replace(/^# /, "").split(",");
  const [name, weight] = [titles.indexOf("pxname"), titles.indexOf("weight")];
  if (name < 0 || weight < 0) throw new Error(`HAProxy answered ${COMMAND} by ${JSON.stringify(head.slice(0, 200))}`);
  const failed = titles.indexOf("hrsp_5xx");
  const answers = titles.flatMap((title, index) => (title.startsWith("hrsp_") ? [index] : []));
  return new Map(
    lines.filter(Boolean).map((line) => {
      const cells = line.split(",");
      const number = (index: number) => Number(cells[index] ?? 0);
      const answered = answers.reduce((sum, index) => sum + number(index), 0);
      return [cells[name] ?? "", { weight: number(weight), answered, failed: number(failed) }];
    }),
  );
}
