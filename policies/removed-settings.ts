import { z } from "zod";
import { type RemovedSetting, removedSetting } from "../src/model/policy/declared";
import { type Finding, policy } from "./support/policy";
import { processSets } from "./support/processes";

export const removedSettings = policy({
  name: "removed-settings",
  description: "No service gets settings that make it fail.",
  level: "mandatory",
  config: z.strictObject({
    settings: z
      .record(z.string().min(1), removedSetting)
      .default({})
      .describe("Settings that no service accepts any more, beside those that each pool declares in removedSettings"),
  }),
  judge: {
    Pool(pool, { config, now }) {
      const declared = { ...config.settings, ...pool.removedSettings };
      const today = now.toISOString().slice(0, 10);
      return Object.entries(declared).flatMap(([setting, removed]) => {
        if (removed?.from === undefined) return [];
        const message = sentence({ from: removed.from, instead: removed.instead }, today);
        const all = processSets(pool).flatMap(({ at, processes }) =>
          Object.entries(processes).map(([id, process]) => ({ at: `${at}.${id}`, process })),
        );
        return all.flatMap(({ at, process }): Finding[] => {
          const where = [
            ...(process?.env !== undefined && Object.hasOwn(process.env, setting) ? [`env.${setting}`] : []),
            ...(Array.isArray(process?.command) ? process.command : []).flatMap((text, index) =>
              text === setting || text?.startsWith(`${setting}=`) ? [`command[${index}]`] : [],
            ),
          ];
          return where.map((place) => ({
            at: `${at}.${place}`,
            message,
            advisory: today < (removed.from ?? ""),
          }));
        });
      });
    },
  },
});

function sentence({ from, instead }: RemovedSetting, today: string): string {
  const remedy = instead === undefined ? "remove it" : `use ${instead} instead`;
  return today < from
    ? `the service fails on it from ${from} on: ${remedy}`
    : `the service fails on it since ${from}: ${remedy}`;
}
