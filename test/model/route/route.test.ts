import assert from "node:assert/strict";
import test from "node:test";
import {
  bySpecificity,
  declaredRoute,
  isSameMatch,
  type RouteMatch,
  routeMatch,
  routeSpec,
} from "../../../src/model/route/route";
import { problems } from "../support/pools";

const declared = { edges: ["main"], stable: "blue", candidate: "green" };

test("a route has defaults: all requests, no stickiness, no testers, the stage without a candidate", () => {
  const { stages, ...rest } = declaredRoute.parse(declared);
  assert.deepEqual(rest, {
    ...declared,
    match: { headers: {} },
    sticky: { by: "none" },
    stage: "stable",
    onBreach: "back",
  });
  assert.deepEqual(
    stages.map(({ name, window }) => [name, window]),
    ["1%", "10%", "50%", "100%"].map((name) => [name, "5 minutes"]),
  );
});

test("what is wrong with a route is said with its path, the value and the remedy", () => {
  const cases: [object, string[]][] = [
    [{ edges: ["main", "main"] }, ["edges: main, main names an edge twice: name each once"]],
    [{ candidate: "blue" }, ["candidate: blue is the stable backend already: name another one, or none"]],
    [{ stage: "5%" }, ['stage: "5%" is not a stage: use one of "stable", "1%", "10%", "50%", "100%"']],
    [
      {
        stages: [
          {
            split: "0%",
            name: "shadow",
            mirror: "100%",
            gates: [{ kind: "sli", source: "mirror", thresholds: ["5xx < 1 %"] }],
          },
        ],
      },
      [
        "stages.0.mirror: has no mirror to lead to: declare `mirror` on the route, or remove this",
        "stages.0.gates.0.source: judges the answers of a shadow, and the route has none: declare `mirror` on the route",
      ],
    ],
    [{ candidate: undefined, stage: "1%" }, ['stage: "1%" needs a candidate: name one, or use "stable"']],
    [
      { match: { host: "A.b:80" } },
      ['match.host: "A.b:80" is not a host name: write it in lower case and without a port, such as "api.example.com"'],
    ],
    [
      { match: { pathPrefix: "/a?b" } },
      ['match.pathPrefix: "/a?b" has a query, which is not part of a path: remove it from "?" on'],
    ],
    [
      { match: { headers: { "x-a": " b" } } },
      [
        'match.headers.x-a: " b" is not the value of a header: use 1 to 256 printable ASCII characters, without spaces around them',
      ],
    ],
    [
      { sticky: { by: "cookie", name: "a; b" } },
      ['sticky.name: "a; b" is not the name of a cookie: use 1 to 64 letters, digits, "-" and "_"'],
    ],
    [
      { sticky: { by: "ip" } },
      ['sticky.by: "ip" is not known here: use one of "none", "cookie", "header", "source", "path"'],
    ],
    [
      { testers: { header: "x a", value: "1" } },
      ['testers.header: "x a" is not the name of a header: use letters, digits, "-" and "_"'],
    ],
    [
      { candidate: undefined, testers: { header: "x", value: "1" } },
      ["testers: has no candidate to lead to: name one, or remove this"],
    ],
  ];
  for (const [change, expected] of cases)
    assert.deepEqual(problems(declaredRoute, { ...declared, ...change }), expected);
  assert.deepEqual(problems(routeSpec, { edges: ["main"], stable: "blue", split: 1 }), [
    "split: needs a candidate to lead to: name one",
  ]);
  assert.deepEqual(problems(routeSpec, { ...declared, split: 10_001 }), [
    "split: 10001 is out of range: use at most 10000",
  ]);
});

test("no value can hold a line break or leave a config's line", () => {
  for (const bad of ["a\nb", "a\r", "\u0000", "a\u2028"]) {
    for (const match of [
      { host: bad },
      { pathPrefix: `/${bad}` },
      { headers: { x: bad } },
      { headers: { [bad]: "x" } },
    ])
      assert.equal(routeMatch.safeParse(match).success, false, JSON.stringify(match));
    assert.equal(routeSpec.safeParse({ ...declared, split: 0, sticky: { by: "cookie", name: bad } }).success, false);
  }
});

test("the most specific match comes first", () => {
  const match = (part: object): RouteMatch => routeMatch.parse(part);
  const inOrder: [string, RouteMatch][] = [
    ["a", match({ host: "x.y", pathPrefix: "/a" })],
    ["b", match({ host: "x.y", headers: { z: "1" } })],
    ["c", match({ host: "x.y" })],
    ["d", match({ pathPrefix: "/long/er" })],
    ["e", match({ pathPrefix: "/long", headers: { a: "1", b: "2" } })],
    ["f", match({ pathPrefix: "/long", headers: { a: "1" } })],
    ["g", match({ headers: { a: "1" } })],
    ["h", match({ frontends: ["web"] })],
    ["i", match({})],
    ["j", match({})],
  ];
  assert.deepEqual(inOrder.toReversed().toSorted(bySpecificity), inOrder);
  assert.equal(isSameMatch(match({ headers: { A: "1", b: "2" } }), match({ headers: { B: "2", a: "1" } })), true);
  assert.equal(isSameMatch(match({ host: "x.y" }), match({})), false);
  assert.equal(isSameMatch(match({ frontends: ["web"] }), match({})), false);
  assert.equal(isSameMatch(match({ frontends: ["web"] }), match({ frontends: ["admin"] })), false);
});
