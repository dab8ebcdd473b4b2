import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import type { GateInput } from "../../../src/model/gate/gate";
import type { StageInput } from "../../../src/model/route/stages";
import { startLoad } from "../../load/load";
import { HostedStack } from "./hosted";

/** Behaviour of an app in a promotion. */
interface Like {
  ms: number;
  /** Every so-manieth request is answered with 500. @default none */
  errorEvery?: number;
}

const SIDES = { blue: { ms: 20 }, clean: { ms: 20 }, faulty: { ms: 20, errorEvery: 50 }, slow: { ms: 60 } };
export const SPLITS = ["1%", "10%", "50%", "100%"] as const;
export const interval = "300 milliseconds";
export const errors = {
  kind: "sli",
  name: "errors",
  interval,
  thresholds: ["5xx < 0.5 %"],
  minRequests: 50,
} satisfies GateInput;

async function backend(t: TestContext, { ms, errorEvery }: Like): Promise<object> {
  let count = 0;
  const server = createServer((_request, response) => {
    count++;
    response.statusCode = errorEvery !== undefined && count % errorEvery === 0 ? 500 : 200;
    setTimeout(() => response.end("hello"), ms);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { edge: "main", servers: { one: { address: "127.0.0.1", port: (server.address() as AddressInfo).port } } };
}

/** A stack with route `api`, up, whose candidate can be any of the apps. */
export async function startGated(t: TestContext) {
  const hosted = await HostedStack.create(t);
  const { stack, client } = hosted;
  const sides = await Promise.all(
    Object.entries(SIDES).map(async ([name, like]) => [name, await backend(t, like)] as const),
  );
  const edges = {
    main: hosted.edge({
      frontends: { http: { binds: [{ port: hosted.port }], defaultBackend: "blue" } },
      meter: true,
    }),
  };
  const declare = (candidate: string, stage: string, stages: StageInput[], more: object = {}) =>
    hosted.declare({
      edges,
      backends: Object.fromEntries(sides),
      routes: { api: { edges: ["main"], stable: "blue", candidate, stage, stages, ...more } },
    });
  const split = async () => (await client.route("api"))?.splits.main;
  const startTraffic = (rate: number) => {
    const mix = { rate, connections: 64, postShare: 0, slow: 0, websockets: 0, streams: 0 };
    // The app, the load and the engine share a machine, which may be a busy one.
    const load = startLoad({ host: "127.0.0.1", port: hosted.port, mix, timeoutMs: 120_000 });
    t.after(() => load.stop());
    return load;
  };
  /** An update that a gate ends: what it says, with the split as it was before. */
  const breach = async (): Promise<string> => {
    const before = await split();
    const { exit, stdout, stderr } = await stack.up();
    assert.notEqual(exit, 0, "it passed");
    assert.equal(await split(), before);
    assert.deepEqual((await client.status()).transactions, []);
    return stdout + stderr;
  };

  await declare("clean", "stable", [{ split: "100%" }]);
  const first = await stack.up();
  assert.equal(first.exit, 0, first.stdout);
  return { hosted, edges, declare, split, startTraffic, breach };
}
