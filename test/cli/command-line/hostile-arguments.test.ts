import assert from "node:assert/strict";
import test from "node:test";
import { sluice } from "../support/sluice";

test("an argument that steers a terminal is refused without doing so", async () => {
  const evil = "\u001b]0;title\u0007\u001b[2J\u009b31m\u202e";
  const commands = [[`${evil}verb`], ["status", `--${evil}`], ["logs", "--host", evil]];
  for (const args of commands) {
    const { code, stderr } = await sluice(args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /error: unknown|is no/);
    assert.doesNotMatch(stderr, /(?!\n)[\p{Cc}\p{Cf}]/u);
  }
});
