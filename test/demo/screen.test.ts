import assert from "node:assert/strict";
import test from "node:test";
import { interesting } from "./screen";

const PREVIEW = `Previewing update (demo):
  pulumi:pulumi:Stack: (same)
    [urn=urn:pulumi:demo::sluice::pulumi:pulumi:Stack::sluice-demo]
    ~ sluice:index:Pool: (refresh)
        [id=web]
      ~ live: {
          ~ release: "v1" => "v2"
        }
        ~ sluice:index:Pool: (update)
            [id=web]
          ~ live: {
              ~ release: "v2" => "v1"
            }
    --outputs:--
  ~ live: {
    }
Resources:
    ~ 1 to update

Duration: 1s`;

test("what is shown of a command is the news: no headings, no refreshes, no outputs", () => {
  assert.deepEqual(PREVIEW.split("\n").filter(interesting()), [
    "        ~ sluice:index:Pool: (update)",
    "          ~ live: {",
    '              ~ release: "v2" => "v1"',
    "            }",
    "Resources:",
    "    ~ 1 to update",
  ]);
});

test("an error is shown whole", () => {
  const lines = [
    "Diagnostics:",
    "  sluice:index:Pool (web-pool):",
    "    error: web#0 is not healthy",
    "      | last words",
  ];
  assert.deepEqual(lines.filter(interesting()), lines);
});
