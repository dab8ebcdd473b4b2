import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { shownText } from "../../../src/agent/support/mask";
import { Redactor } from "../../../src/provider/server/values/redact";

const SECRET = "p&ss wörd/+?=%~1";
const encoded = (text: string): [string, string][] => [
  ["as it is", text],
  ["as JSON", JSON.stringify(text)],
  ["base64", Buffer.from(text).toString("base64")],
  ["base64 for URLs", Buffer.from(text).toString("base64url")],
  ["basic authentication", Buffer.from(`user:${text}`).toString("base64")],
  ["base64 within a longer text", Buffer.from(`postgres://u:${text}@host/db`).toString("base64")],
  ["URL-encoded", encodeURIComponent(text)],
  ["URL-encoded with lower-case letters", encodeURIComponent(text).replace(/%../g, (code) => code.toLowerCase())],
  ["a form", new URLSearchParams({ text }).toString()],
  ["with an escape sequence within", `${text.slice(0, 5)}\u001b[0m${text.slice(5)}`],
];

for (const [name, text] of encoded(SECRET))
  test(`a secret is masked ${name}, by the agent and by the provider`, () => {
    const redactor = new Redactor([{ value: { token: SECRET }, secretPaths: [["token"]] }]);
    for (const shown of [shownText(`x ${text} y`, [SECRET]), redactor.redact(`x ${text} y`)]) {
      assert.match(shown, /^x .*\[secret\].* y$/);
      const left = shown.replace(/^x | y$/g, "").replace("[secret]", "");
      // Characters beside it that depend on neighbours in base64 tell less than one of its own.
      assert.ok(!left.includes(text.slice(4, -4)) && left.length < 40, shown);
    }
  });

test("whatever a secret and what is around it, its base64 is masked", () => {
  const secret = fc.string({ minLength: 8, maxLength: 40 });
  fc.assert(
    fc.property(fc.string(), secret, fc.string(), (before, text, after) => {
      const shown = shownText(Buffer.from(before + text + after).toString("base64"), [text]);
      assert.match(shown, /\[secret\]/);
    }),
  );
});
