import assert from "node:assert/strict";
import test from "node:test";
import { Redactor } from "../../../../src/provider/server/values/redact";

const bag = (value: Record<string, unknown>) => ({ value, secretPaths: Object.keys(value).map((key) => [key]) });

test("every secret string is masked, the longest first, short ones left alone", () => {
  const redactor = new Redactor([bag({ a: "pass", b: { c: ["password1"] }, d: "abc" }), bag({ old: "earlier" })]);
  assert.equal(redactor.redact("password1 pass abc earlier"), "[secret] [secret] abc [secret]");
});

test("a secret is masked as JSON, and line by line", () => {
  const redactor = new Redactor([bag({ key: 'first "line"\n  second line' })]);
  assert.equal(redactor.redact('said: {"key":"first \\"line\\"\\n  second line"}'), 'said: {"key":"[secret]"}');
  assert.equal(redactor.redact("| second line"), "| [secret]");
});

test("a string is secret if it equals one, or holds a long one", () => {
  const { isSecretText } = new Redactor([bag({ a: "prod", b: "hunter2-hunter2" })]);
  assert.ok(isSecretText("prod"));
  assert.ok(!isSecretText("production"));
  assert.ok(isSecretText("--token=hunter2-hunter2"));
});
