import { readIfThere } from "../../support/files";

const TABLES = ["/proc/net/tcp", "/proc/net/tcp6"];
const ESTABLISHED = "01";

/** TCP connections to a local port, from wherever: edges of other hosts are seen by nothing else. */
export async function connectionsTo(port: number): Promise<number> {
  const counts = await Promise.all(TABLES.map(async (table) => countIn(await tableOf(table), port)));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Counts the connections of a local port in a table such as `/proc/net/tcp`. */
function countIn(table: string, port: number): number {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return table.split("\n").filter((line) => {
    const [, local = "", , state] = line.trim().split(/\s+/);
    return local.endsWith(suffix) && state === ESTABLISHED;
  }).length;
}

async function tableOf(path: string): Promise<string> {
  // A host may have no IPv6.
  return (await readIfThere(path)) ?? "";
}
