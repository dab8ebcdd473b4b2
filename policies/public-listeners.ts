import { z } from "zod";
import { isWildcard } from "../src/model/edge/edge";
import { quoteValue } from "../src/model/types/messages";
import type { Judged, Unsure } from "./support/judged";
import { type Finding, policy } from "./support/policy";
import { processSets } from "./support/processes";

/** An argument or a variable that makes most programs listen on all addresses of a host. */
const EVERYWHERE = /^(?:--?[A-Za-z][\w-]*=)?(?:0\.0\.0\.0|\[?::\]?)(?::(?:\d+|\{\{[^{}]*\}\}))?$/;

export const publicListeners = policy({
  name: "public-listeners",
  description: "Nothing listens on all addresses of a host unless it is declared to be public.",
  level: "mandatory",
  config: z.strictObject({
    processes: z
      .array(z.string().min(1))
      .default([])
      .describe("Names of processes that may listen on all addresses, beside the edge"),
  }),
  judge: {
    Edge: ({ frontends, metrics }) => [
      ...Object.entries(frontends ?? {}).flatMap(([name, frontend]) =>
        (frontend?.binds ?? []).flatMap((bind, index) => listener(`frontends.${name}.binds[${index}]`, bind)),
      ),
      ...listener("metrics", metrics),
    ],
    Pool: (pool, { config }) =>
      processSets(pool).flatMap(({ at, processes }) =>
        Object.entries(processes)
          .filter(([id]) => !config.processes.includes(id))
          .flatMap(([id, process]) => [
            ...(Array.isArray(process?.command) ? process.command : []).flatMap((text, index) =>
              program(`${at}.${id}.command[${index}]`, id, text),
            ),
            ...Object.entries(process?.env ?? {}).flatMap(([key, text]) => program(`${at}.${id}.env.${key}`, id, text)),
          ]),
      ),
  },
});

type Bind = Unsure<Judged["Edge"]>["metrics"];

function listener(at: string, bind: Bind): Finding[] {
  if (bind?.address === undefined || bind.public === true || !isWildcard(bind.address)) return [];
  return [
    {
      at: `${at}.address`,
      message: `${quoteValue(bind.address)} listens on every network of the host: name one address, or declare public: true`,
    },
  ];
}

/** Match only what hardly means anything else, since a program may do anything with a text. */
function program(at: string, id: string, text: string | undefined): Finding[] {
  if (text === undefined || !EVERYWHERE.test(text)) return [];
  return [
    {
      at,
      message: `${quoteValue(text)} lets requests reach ${id} past the edge: use 127.0.0.1, or list ${quoteValue(id)} in the policy's processes`,
    },
  ];
}
