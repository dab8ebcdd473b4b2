import { ALL_KINDS, replaces } from "./support/replaced";
import { commandTable, everyKind, type Row } from "./support/table";

commandTable("a replacement that a command asks for renews the record alone: what runs goes on", (whole) => [
  ...["--replace", "--target-replace"].map(
    (option): Row => ({
      name: `up ${option}, of every kind`,
      run: ({ stack }) => stack.up(...everyKind(whole, option)),
      look: replaces(ALL_KINDS),
    }),
  ),
  {
    name: "its preview says that a pool is taken over as it runs",
    run: ({ stack }) => stack.preview(...everyKind(whole, "--replace")),
    says: /takes pool web over as it runs, with release v1: .*sluice restart web/,
  },
  {
    name: "state taint, of every kind, and up",
    run: async ({ stack }) => {
      await whole.must(stack.run("state", "taint", ...everyKind(whole), "--yes"));
      return stack.up();
    },
    look: replaces(ALL_KINDS),
  },
]);
