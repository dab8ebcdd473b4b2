import assert from "node:assert/strict";
import test from "node:test";
import { z } from "zod";
import { failuresOf } from "../../../src/provider/server";

const schema = z.strictObject({
  port: z.number().max(65_535, "must be at most 65535"),
  processes: z.record(z.string(), z.object({ command: z.array(z.string("must be a string")) })),
  listen: z.union([z.string(), z.object({ port: z.number() })]).optional(),
});

const failures = (input: unknown, prefix: (string | number)[] = []) => {
  const { error } = schema.safeParse(input);
  assert.ok(error);
  return failuresOf(error, prefix);
};

test("all failures come at once, each with its path", () => {
  const input = { port: 70_000, processes: { "web-1": { command: ["a", 2] } }, prot: 1 };
  assert.deepEqual(failures(input, ["pool"]), [
    { property: "pool.port", reason: "must be at most 65535" },
    { property: 'pool.processes["web-1"].command[1]', reason: "must be a string" },
    { property: "pool.prot", reason: "is not a property that exists here" },
  ]);
});
