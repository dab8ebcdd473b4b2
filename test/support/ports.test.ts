import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import test, { type TestContext } from "node:test";
import { freePortList, freePorts, freeRange } from "./ports";

const ROWS = 40;
const LENGTH = 5;

/** A process that takes rows of ports, tells their first ones, and lives on. */
async function taker(t: TestContext): Promise<{ child: ChildProcess; firsts: number[] }> {
  const script = `
    const { freePorts } = require(${JSON.stringify(`${__dirname}/ports.ts`)});
    Promise.all(Array.from({ length: ${ROWS} }, () => freePorts(${LENGTH}))).then((firsts) => console.log(JSON.stringify(firsts)));
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, [...process.execArgv, "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  for await (const line of createInterface({ input: child.stdout })) return { child, firsts: JSON.parse(line) };
  throw new Error("the process that takes ports ended without a word");
}

test("no two processes, and no two callers in one, get the same port", async (t) => {
  const takers = await Promise.all(Array.from({ length: 4 }, () => taker(t)));
  const ports = takers.flatMap(({ firsts }) =>
    firsts.flatMap((first) => Array.from({ length: LENGTH }, (_, i) => first + i)),
  );
  assert.equal(ports.length, 4 * ROWS * LENGTH);
  assert.equal(new Set(ports).size, ports.length);
});

test("a port on which something listens is not given out", async () => {
  const first = await freePorts(1);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(first + 1, "127.0.0.1", resolve));
  try {
    const given = [await freePorts(1), ...(await freePortList(2))];
    assert.ok(!given.includes(first + 1), `${given} has ${first + 1}`);
  } finally {
    server.close();
  }
});

test("a range may be longer than a block, and does not keep the process alive", async () => {
  const { from, to } = await freeRange(50);
  assert.equal(to - from, 49);
});
