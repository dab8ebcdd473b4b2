import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { tailOf } from "../../../src/agent/processes/output/output";
import { bench, nextExit, script } from "./support";

test("standard output and standard error come in order", async (t) => {
  const host = await (await bench(t)).open();
  const ended = nextExit(host, "a");
  await host.launch("a", script("echo one; echo two >&2; echo three; printf four >&2"));
  await ended;
  assert.deepEqual(await host.tail("a", { lines: 10 }), ["one", "two", "three", "four"]);
  assert.deepEqual(await host.tail("a", { lines: 2 }), ["three", "four"]);
  assert.deepEqual(await host.tail("a", { lines: 0 }), []);
  assert.deepEqual(await host.tail("never-launched", { lines: 2 }), []);
});

test("the tail of a file is bounded, and splits no character", async (t) => {
  const { directory } = await bench(t);
  const path = join(directory, "output");
  const tail = async (content: string | Buffer, lines: number) => {
    await writeFile(path, content);
    return tailOf(path, lines);
  };
  assert.deepEqual(await tail("", 5), []);
  assert.deepEqual(await tail("\n\n", 5), ["", ""]);
  assert.deepEqual(await tail("a\r\nb\r\n", 5), ["a", "b"]);
  assert.deepEqual(await tail(`${"x".repeat(3000)}\nend\n`, 5), [`${"x".repeat(2000)}…`, "end"]);
  assert.deepEqual(await tail(`${"x".repeat(1999)}😀😀`, 1), [`${"x".repeat(1999)}…`]);
  assert.deepEqual(await tail(Buffer.concat([Buffer.from("grün "), Buffer.from("€").subarray(0, 2)]), 1), ["grün "]);
  assert.deepEqual(await tail(Buffer.concat([Buffer.from("a"), Buffer.from("😀").subarray(0, 3)]), 1), ["a"]);
  assert.deepEqual(await tail("voll: 😀", 1), ["voll: 😀"]);
  assert.deepEqual(await tail(Buffer.from([0x61, 0xff, 0x62]), 1), ["a\ufffdb"]);
  for (const shift of [0, 1, 2]) {
    const [only, ...none] = await tail(`${"y".repeat(shift)}${"€".repeat(200_000)}`, 3);
    assert.deepEqual(none, []);
    assert.equal(only, `…${"€".repeat(1999)}…`);
  }
  const lines = Array.from({ length: 100_000 }, (_, i) => `line ${i}`);
  assert.deepEqual(await tail(lines.join("\n"), 3), lines.slice(-3));
  const all = await tail(lines.join("\n"), 1_000_000);
  assert(all.length < 30_000);
  assert.deepEqual(all, lines.slice(-all.length), "no line is cut at its start");
});
