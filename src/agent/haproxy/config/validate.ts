import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
/** For `haproxy -c`, in milliseconds. */
const CHECK_DEADLINE_MS = 60_000;

/**
 * Lets HAProxy check a config file; nothing is bound and nothing runs.
 *
 * @throws Error with HAProxy's own words and the text of each line that they name
 */
export async function validateFile(binary: string, path: string): Promise<void> {
  try {
    await run(binary, ["-c", "-f", path], { timeout: CHECK_DEADLINE_MS });
  } catch (cause) {
    const { stderr = "", stdout = "", message } = cause as { stderr?: string; stdout?: string; message: string };
    const reported = complaints(`${stderr}\n${stdout}`) || message;
    const lines = (await readFile(path, "utf8")).split("\n");
    if (/lua-load-per-thread/.test(reported) && !(await hasLua(binary)))
      throw new Error(
        `${binary} is built without Lua, by which a route's mirror and sample copy requests: install a package that has it (\`haproxy -vv\` says +LUA), or declare neither`,
        { cause },
      );
    throw new Error(`HAProxy refuses the config: ${withLines(reported, path, lines)}`, { cause });
  }
}

async function hasLua(binary: string): Promise<boolean> {
  return /^Feature list.* \+LUA\b/m.test((await run(binary, ["-vv"], { timeout: CHECK_DEADLINE_MS })).stdout);
}

/** The alerts in HAProxy's output, or all of it where there is none. */
export function complaints(output: string): string {
  const lines = output.split("\n").filter((line) => line.trim() !== "" && !/\[NOTICE\]/.test(line));
  const alerts = lines.filter((line) => line.startsWith("[ALERT]"));
  return (alerts.length > 0 ? alerts : lines)
    .map((line) => line.replace(/^\[ALERT\]\s+\(\d+\) : /, "").trim())
    .filter((line) => !/^(config : )?(Fatal errors found|Error\(s\) found)/.test(line))
    .join("; ");
}

/** Puts the text of the lines that HAProxy names behind its message. */
function withLines(complaint: string, path: string, lines: readonly string[]): string {
  const named = [...complaint.matchAll(/\[([^\]\s]+):(\d+)\]/g)].filter(([, file]) => file === path);
  const numbers = [...new Set(named.map(([, , number]) => Number(number)))];
  const texts = numbers.flatMap((number) => {
    const text = lines[number - 1]?.trim();
    return text === undefined ? [] : [`line ${number}: ${text}`];
  });
  return [complaint.replaceAll(path, "haproxy.cfg"), ...texts].join("\n  ");
}
