import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import path from "node:path";
import { until } from "../../support/until";
import { commandTable, everyKind } from "./support/table";
import { KINDS } from "./support/whole";

/** An update finds the live state, so it has nothing to do. */
const NOTHING = "--expect-no-changes";

commandTable("commands about a whole stack, while requests go on", (whole) => [
  { name: "up --refresh", run: ({ stack }) => stack.up("--refresh", NOTHING) },
  { name: "refresh", run: ({ stack }) => stack.refresh(NOTHING) },
  { name: "up --target, of every kind", run: ({ stack }) => stack.up(...everyKind(whole, "--target"), NOTHING) },
  {
    name: "up --target a pool",
    run: ({ stack }) => stack.up("--target", whole.urn(KINDS["a pool side by side"]), NOTHING),
  },
  {
    name: "up --target an agent --target-dependents",
    run: ({ stack }) => stack.up("--target", whole.urn(KINDS["an agent"]), "--target-dependents", NOTHING),
  },
  {
    name: "protect is no obstacle to an update, but to a removal",
    run: async ({ stack }) => {
      await whole.declare({ web: { options: { protect: true } } });
      await whole.must(stack.up());
      await whole.declare({ web: { absent: true } });
      return stack.up();
    },
    refused: /"urn:pulumi:dev::test::sluice:index:Pool::web"\s+cannot be deleted\s+because it is protected/,
  },
  {
    name: "an update tells an input that it refuses",
    run: async ({ stack }) => {
      await whole.declare({ plain: { args: { servers: { one: { address: "127.0.0.1", port: 0 } } } } });
      return stack.up();
    },
    refused: /servers\.one\.port: /,
  },
  {
    name: "--continue-on-error: one pool fails and is put back, and the others go on",
    run: async ({ stack }) => {
      const drainDeadline = { args: { drainDeadline: "3 seconds" } };
      await whole.declare({ web: { args: whole.broken() }, tried: drainDeadline });
      return stack.up("--continue-on-error");
    },
    refused: /pool\/web is as it was before: the change was undone/,
    look: async () => {
      const { tried } = (await whole.reality()).pools;
      assert.equal(tried?.settings.drainDeadline, "3 seconds");
    },
    redeclares: true,
  },
  {
    name: "of two deployers at once, the second is refused and told of the first",
    run: async ({ stack }) => {
      await whole.declare({ web: { args: { drainDeadline: "3 seconds" } } });
      const first = stack.start("up");
      const locked = () => readdirSync(path.join(stack.folder, ".state", ".pulumi", "locks"), { recursive: true });
      await until("the first one to hold the stack", () => locked().some((file) => `${file}`.endsWith(".json")));
      const second = await stack.up();
      await whole.must(first.finished);
      return second;
    },
    refused: /the stack is currently locked by 1 lock/,
    redeclares: true,
  },
]);
