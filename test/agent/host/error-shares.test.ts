import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { sluice } from "../../cli/support/sluice";
import { startHarness } from "../../support/harness";
import { startServer } from "../../support/server";
import { until } from "../../support/until";

test("a backend that answers its health check well and everything else with 500 is a problem", async (t) => {
  const app = await startServer(t, (request, response) => response.writeHead(request.url === "/" ? 200 : 500).end());
  const agent = await startHarness(t, { backends: { web: app } });
  const outputOf = async (verb: string) => {
    const { code, stdout } = await sluice([verb, "--socket", agent.socket]);
    return `${code} ${stdout.replaceAll(/\s+/g, " ")}`;
  };
  assert.match(await outputOf("status"), /^0 all good/);
  await until("the errors to be counted", async () => {
    await Promise.all(Array.from({ length: 10 }, async () => (await fetch(`${agent.url}/orders`)).text()));
    return (await agent.client.edge("main"))?.errors?.web !== undefined;
  });
  const problem =
    /^1 edge main: backend web answered \d+ of the last minute's \d+ requests with a status from 500 \(\d+%\): see the output of its servers/;
  assert.match(await outputOf("status"), problem);
  assert.match(await outputOf("doctor"), problem);
  await until("the event", async () =>
    /edge main: backend web answered \d+ of/.test(await readFile(join(agent.directory, "events.ndjson"), "utf8")),
  );
});
