import { ask } from "./runtime-api";

/** Answers that a server gave since its worker began. */
export interface ResponseCounts {
  /** With a status below 400. */
  good: number;
  /** With a status from 500. */
  bad: number;
}

/** Reads the current worker's response counters of a server. */
export async function responseCountsOf(socket: string, backend: string, id: string): Promise<ResponseCounts> {
  const [head = "", ...lines] = (await ask(socket, "show stat", { retry: true })).split("\n");
  const titles = head.replace(/^# /, "").split(",");
  const row = lines.find((line) => line.startsWith(`${backend},${id},`))?.split(",") ?? [];
  const count = (title: string) => Number(row[titles.indexOf(title)] ?? 0);
  return { good: count("hrsp_2xx") + count("hrsp_3xx"), bad: count("hrsp_5xx") };
}
