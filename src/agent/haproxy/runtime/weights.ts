import { ask } from "./runtime-api";

/** Asks for the rows of backends alone, which says everything about them without one row per server. */
const COMMAND = "show stat -1 2 -1";

/** The sum of the weights of the servers that take requests, by backend: 0 where none does. */
export async function backendWeights(socket: string): Promise<Map<string, number>> {
  const [head = "", ...lines] = (await ask(socket, COMMAND, { retry: true })).split("\n");
  const titles = head.replace(/^# /, "").split(",");
  const [name, weight] = [titles.indexOf("pxname"), titles.indexOf("weight")];
  if (name < 0 || weight < 0) throw new Error(`HAProxy answered ${COMMAND} by ${JSON.stringify(head.slice(0, 200))}`);
  return new Map(
    lines.filter(Boolean).map((line) => {
      const cells = line.split(",");
      return [cells[name] ?? "", Number(cells[weight])];
    }),
  );
}
