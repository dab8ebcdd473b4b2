import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { safeJson, safeLine, safeText, safeTexts } from "../../../src/model/types/safe-text";

const CASES: [name: string, text: string, safe: string][] = [
  ["colours", "a \u001b[31;1mred\u001b[0m word", "a red word"],
  ["a clear screen and a moved cursor", "\u001b[2J\u001b[1;1Hgone", "gone"],
  ["a title", "x\u001b]0;pwned\u0007y", "xy"],
  ["a title that ends by ST", "x\u001b]2;pwned\u001b\\y", "xy"],
  ["a link", "\u001b]8;;http://evil\u001b\\shown\u001b]8;;\u001b\\", "shown"],
  ["a clipboard write", "\u001b]52;c;cm0gLXJmIC8=\u0007ok", "ok"],
  ["a title that does not end", "x\u001b]0;the rest is read", "x\u00b7]0;the rest is read"],
  ["one that ends in another line", "x\u001b]0;a\nb\u0007c", "x\u00b7]0;a\nb\u00b7c"],
  ["a device control string", "x\u001bP1$r0m\u001b\\y", "xy"],
  ["C1 sequences", "x\u009b31mred\u009d0;t\u009cy", "xredy"],
  ["a reset of the terminal, and a query of it", "x\u001bcy\u001b[6nz", "xyz"],
  ["a charset that draws lines", "x\u001b(0lqqk\u001b(B", "xlqqk"],
  ["an escape character at the end", "x\u001b", "x\u00b7"],
  ["NUL, backspaces and bells", "a\0\b\b\u0007b", "a\u00b7b"],
  ["overwriting by a carriage return", "failed\rpassed", "failed\npassed"],
  ["line ends of Windows", "a\r\nb", "a\nb"],
  ["text that is turned around", "a\u202egpj.exe\u2066b", "a\u00b7gpj.exe\u00b7b"],
  ["what has no width", "v\u200b1\ufeff", "v\u00b71\u00b7"],
  ["separators of lines", "a\u2028b\u2029c", "a\u00b7b\u00b7c"],
  ["half of a pair", "a\ud83d", "a\u00b7"],
  ["ordinary text", 'grüße 日本 \u{1f600} "<&>\n  | x', 'grüße 日本 \u{1f600} "<&>\n  | x'],
];

for (const [name, text, safe] of CASES)
  test(`safe text: ${name}`, () => {
    assert.equal(safeText(text), safe);
  });

test("a line that is too long is cut, and says so; the others stay", () => {
  assert.equal(safeText(`first\n${"x".repeat(50)}\nlast`, 30), `first\n${"x".repeat(11)}... (50 characters)\nlast`);
  assert.equal(safeLine("a\n  b\nc"), "a b c");
  assert.equal(safeText(`${"x".repeat(10)}\u{1f600}${"y".repeat(39)}`, 30), `${"x".repeat(10)}... (51 characters)`);
});

test("whatever the text, the safe one has nothing that steers a terminal, and is safe already", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      "\u001b[",
      "\u001b]",
      "\u001bP",
      "\u009b",
      "\u009d",
      "\u0007",
      "\u001b\\",
      "\u009c",
      "0;",
      "m",
      "\n",
      "\r",
      "\0",
    ),
    fc.string({ unit: "binary" }),
  );
  fc.assert(
    fc.property(
      fc.array(piece).map((all) => all.join("")),
      (text) => {
        const safe = safeText(text);
        assert.doesNotMatch(safe, /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u);
        assert.equal(safeText(safe), safe);
      },
    ),
  );
});

test("a text of nothing but introducers is kept but for them", () => {
  for (const [each, kept] of [
    ["\u009d", ""],
    ["\u001b]0;", "]0;"],
    ["\u001b[0;", "[0;"],
    ["\u009b;", ";"],
  ] as const) {
    const safe = safeText(each.repeat(100_000), Number.POSITIVE_INFINITY);
    assert.equal(safe, kept === "" ? "\u00b7" : `\u00b7${kept}`.repeat(100_000));
  }
});

test("JSON is as exact, and has nothing that steers a terminal", () => {
  const value = { line: "\u001b[1m \u009b2J \u202e \u{e0041} \ufeff", list: ["\u2028"] };
  for (const indent of [undefined, 2]) {
    assert.doesNotMatch(safeJson(value, indent), /(?!\n)[\p{Cc}\p{Cf}\u2028]/u);
    assert.deepEqual(JSON.parse(safeJson(value, indent)), value);
  }
});

test("texts within plain data are safe, and nothing else changes", () => {
  const given = JSON.parse('{"__proto__": "a\\u001b[1m", "list": ["\\u0007", 1, null, true], "k\\u001b[m": {}}');
  const safe = safeTexts(given);
  assert.equal(JSON.stringify(safe), '{"__proto__":"a","list":["\u00b7",1,null,true],"k":{}}');
});
