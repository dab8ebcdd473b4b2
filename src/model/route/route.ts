import { z } from "zod";
import { urlPath } from "../edge/backend";
import { judgesMirror } from "../gate/gate";
import { quoteValue } from "../types/messages";
import { name } from "../types/names";
import { mirror, sample } from "./mirror";
import { split } from "./split";
import { STABLE, type StagePosition, splitOf, staged, stageName, unknownStage } from "./stages";

/** Most headers that one match looks at. */
const MAX_HEADERS = 8;
/** Most edges of one route. */
const MAX_EDGES = 16;
const HOST_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const HOST = new RegExp(`^(?=.{1,253}$)${HOST_LABEL}(?:\\.${HOST_LABEL})*$`);

const host = z.string().regex(HOST, {
  error: ({ input }) =>
    `${quoteValue(input)} is not a host name: write it in lower case and without a port, such as "api.example.com"`,
});

const pathPrefix = urlPath.refine((path) => !path.includes("?"), {
  error: ({ input }) => `${quoteValue(input)} has a query, which is not part of a path: remove it from "?" on`,
});

const headerName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, {
  error: ({ input }) => `${quoteValue(input)} is not the name of a header: use letters, digits, "-" and "_"`,
});

/** HAProxy strips spaces around a header's value, so that one with them could never match. */
const headerValue = z.string().regex(/^[!-~](?:[ -~]{0,254}[!-~])?$/, {
  error: ({ input }) =>
    `${quoteValue(input)} is not the value of a header: use 1 to 256 printable ASCII characters, without spaces around them`,
});

/**
 * Selects a route's requests: those that meet every given condition; all requests if none is given. Change: hitless
 * reload.
 */
export const routeMatch = z.strictObject({
  /** Frontends of the edge. @default all of them */
  frontends: z.array(name).min(1).max(MAX_EDGES).optional(),
  /** Host that the client asked for, whatever the port. @default any */
  host: host.optional(),
  /** Path, or whole first segments of it: `/api` takes `/api` and `/api/users`, not `/apix`. @default any */
  pathPrefix: pathPrefix.optional(),
  /** Headers and their exact values. @default none */
  headers: z
    .record(headerName, headerValue)
    .refine((headers) => Object.keys(headers).length <= MAX_HEADERS, {
      error: ({ input }) => `has ${Object.keys(input as object).length} headers: use at most ${MAX_HEADERS}`,
    })
    .default({}),
});
export type RouteMatch = z.output<typeof routeMatch>;

/**
 * How a client is kept on its side. All but `none` draw a number from what they are named after, so that a client that
 * has gone to the candidate stays there while the split only rises. Change: hitless reload.
 */
export const sticky = z.discriminatedUnion("by", [
  /** Nothing: each request is drawn for itself. */
  z.strictObject({ by: z.literal("none") }),
  /** A cookie that HAProxy sets, with a random number in it. */
  z.strictObject({
    by: z.literal("cookie"),
    name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, {
      error: ({ input }) =>
        `${quoteValue(input)} is not the name of a cookie: use 1 to 64 letters, digits, "-" and "_"`,
    }),
  }),
  /** A header, such as one with a user's id. Requests without it are drawn each for itself. */
  z.strictObject({ by: z.literal("header"), name: headerName }),
  /** The address of the client's connection. */
  z.strictObject({ by: z.literal("source") }),
  /** The path without its query: the same path goes to the same side. */
  z.strictObject({ by: z.literal("path") }),
]);
export type Sticky = z.output<typeof sticky>;

/** A header with which testers reach the candidate whatever the split is. */
export const testers = z.strictObject({ header: headerName, value: headerValue });

const fields = z.strictObject({
  /** Edges of one agent that route so, 1 to 16. */
  edges: z
    .array(name)
    .min(1)
    .max(MAX_EDGES)
    .refine((edges) => new Set(edges).size === edges.length, {
      error: ({ input }) => `${(input as string[]).join(", ")} names an edge twice: name each once`,
    }),
  match: routeMatch.prefault({}),
  /** Backend that takes the requests which the candidate does not. Until it exists, they are answered with 503. */
  stable: name,
  /** Backend that takes the split's share. @default none */
  candidate: name.optional(),
  sticky: sticky.default({ by: "none" }),
  /** A header with which testers reach the candidate whatever the split is. @default none */
  testers: testers.optional(),
  /** Copies of requests for a shadow backend, whose answers nobody sees. @default none */
  mirror: mirror.optional(),
  /** A sample of the GET requests, for a parity gate to replay. @default none. Change: hitless reload to begin or end. */
  sample: sample.optional(),
});

/** Problems of a route's backends, split left aside. */
function backendIssues({ stable, candidate, testers, mirror }: Partial<z.output<typeof fields>>) {
  const issues: { path: string[]; message: string }[] = [];
  if (candidate !== undefined && candidate === stable)
    issues.push({
      path: ["candidate"],
      message: `${candidate} is the stable backend already: name another one, or none`,
    });
  if (mirror !== undefined && mirror.to === stable)
    issues.push({
      path: ["mirror", "to"],
      message: `${stable} is the stable backend, which has these requests already: name another one`,
    });
  if (candidate === undefined && testers !== undefined)
    issues.push({ path: ["testers"], message: "has no candidate to lead to: name one, or remove this" });
  return issues;
}

/** A route as a program declares it: its split is that of the stage to be in. */
export const declaredRoute = fields.extend(staged.shape).superRefine((route, context) => {
  for (const issue of backendIssues(route)) context.addIssue({ code: "custom", ...issue });
  const unknown = unknownStage(route.stages, route.stage);
  if (unknown !== undefined) context.addIssue({ code: "custom", path: ["stage"], message: unknown });
  else if (route.candidate === undefined && splitOf(route.stages, route.stage) !== 0)
    context.addIssue({
      code: "custom",
      path: ["stage"],
      message: `${quoteValue(route.stage)} needs a candidate: name one, or use "${STABLE}"`,
    });
  for (const [stage, { mirror }] of route.stages.entries())
    if (mirror !== undefined && route.mirror === undefined)
      context.addIssue({
        code: "custom",
        path: ["stages", stage, "mirror"],
        message: "has no mirror to lead to: declare `mirror` on the route, or remove this",
      });
  for (const [stage, { gates }] of route.stages.entries())
    for (const [index, gate] of gates.entries()) {
      if (judgesMirror(gate) && route.mirror === undefined)
        context.addIssue({
          code: "custom",
          path: ["stages", stage, "gates", index, "source"],
          message: "judges the answers of a shadow, and the route has none: declare `mirror` on the route",
        });
      if (gate.kind === "parity" && gate.requests === undefined && route.sample === undefined)
        context.addIssue({
          code: "custom",
          path: ["stages", stage, "gates", index, "requests"],
          message:
            "is not given, and the route keeps no sample: name a file of requests, or declare `sample` on the route",
        });
    }
});
export type DeclaredRoute = z.output<typeof declaredRoute>;
export type DeclaredRouteInput = z.input<typeof declaredRoute>;

/** The route that a declared one is at a place: with its split, and with what its stage has mirrored. */
export function routeAt(
  { stages, stage: _stage, onBreach: _onBreach, mirror, ...rest }: DeclaredRoute,
  { split, stage }: StagePosition,
): RouteSpec {
  const share = stages.find(({ name }) => name === stage)?.mirror;
  return {
    ...rest,
    ...(mirror !== undefined && { mirror: { ...mirror, share: share ?? mirror.share } }),
    split,
    ...(stage !== undefined && { stage }),
  };
}

/** A route as an agent has it. */
export const routeSpec = fields
  .extend({
    split,
    /** Name of its stage, by which those without requests for the candidate are told apart. @default not known */
    stage: stageName.optional(),
  })
  .superRefine((route, context) => {
    for (const issue of backendIssues(route)) context.addIssue({ code: "custom", ...issue });
    if (route.candidate === undefined && route.split !== 0)
      context.addIssue({ code: "custom", path: ["split"], message: "needs a candidate to lead to: name one" });
  });
export type RouteSpec = z.output<typeof routeSpec>;
export type RouteInput = z.input<typeof routeSpec>;

/**
 * Order of routes on an edge: the most specific one takes a request that several fit. A host goes before none, then a longer
 * path, then more headers, then fewer frontends.
 */
export function bySpecificity([nameA, a]: [string, RouteMatch], [nameB, b]: [string, RouteMatch]): number {
  return (
    Number(b.host !== undefined) - Number(a.host !== undefined) ||
    (b.pathPrefix?.length ?? 0) - (a.pathPrefix?.length ?? 0) ||
    Object.keys(b.headers).length - Object.keys(a.headers).length ||
    (a.frontends?.length ?? Number.POSITIVE_INFINITY) - (b.frontends?.length ?? Number.POSITIVE_INFINITY) ||
    (nameA < nameB ? -1 : 1)
  );
}

/** Whether two matches take exactly the same requests where both are in force, so that no order between them makes sense. */
export function isSameMatch(a: RouteMatch, b: RouteMatch): boolean {
  const conditions = ({ host, pathPrefix, headers }: RouteMatch) =>
    JSON.stringify([
      host,
      pathPrefix,
      Object.entries(headers)
        .map(([header, value]) => [header.toLowerCase(), value])
        .toSorted(),
    ]);
  const inA = a.frontends;
  const inB = b.frontends;
  const overlap = inA === undefined || inB === undefined || inA.some((frontend) => inB.includes(frontend));
  // One that names its frontends goes before one that does not.
  return (
    overlap &&
    (inA === undefined) === (inB === undefined) &&
    inA?.length === inB?.length &&
    conditions(a) === conditions(b)
  );
}
