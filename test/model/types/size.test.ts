import assert from "node:assert/strict";
import test from "node:test";
import { bytes, formatBytes, type Size, size } from "../../../src/model/types/size";
import { problems } from "../support/pools";

const good: [Size, number][] = [
  ["0 B", 0],
  ["1 KiB", 1024],
  ["512 MiB", 536_870_912],
  ["1.5 GiB", 1_610_612_736],
  ["2 TiB", 2_199_023_255_552],
];
for (const [text, expected] of good) test(`${text} is ${expected} bytes`, () => assert.equal(bytes(text), expected));

const shown: [number, string][] = [
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1 KiB"],
  [1_048_575, "1 MiB"],
  [1_572_864, "1.5 MiB"],
  [2 ** 40, "1 TiB"],
];
for (const [amount, expected] of shown)
  test(`${amount} bytes are shown as ${expected}`, () => assert.equal(formatBytes(amount), expected));

const FORM = 'is not a size: write a number, a space and B, KiB, MiB, GiB or TiB, such as "512 MiB"';
const bad: [unknown, string][] = [
  [512, '512 is not a size: write a text such as "512 MiB"'],
  ["512MiB", `"512MiB" ${FORM}`],
  ["512 MB", `"512 MB" ${FORM}`],
  ["-1 MiB", `"-1 MiB" ${FORM}`],
  ["1 KiB", '"1 KiB" is out of range: use 1 MiB to 1 GiB'],
  ["2 GiB", '"2 GiB" is out of range: use 1 MiB to 1 GiB'],
];
for (const [input, message] of bad)
  test(`${JSON.stringify(input)} is refused`, () =>
    assert.deepEqual(problems(size({ min: "1 MiB", max: "1 GiB" }), input), [`: ${message}`]));
