import assert from "node:assert/strict";
import test from "node:test";
import { send } from "../../../../src/agent/processes/identity";
import type { StepInput } from "../../../../src/model/protocol/transaction";
import { OWNER } from "../../../support/transaction";
import { until } from "../../../support/until";
import { startPoolAgent, web } from "../support/agent";
import { ask, broker, NO_BROKER } from "../support/broker";

const PATIENT = { deadlineMs: 60_000 };

test("a service that hands over its port is of one release alone, whenever the agent dies", {
  skip: NO_BROKER,
}, async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client } = poolAgent;
  const pool = await poolAgent.pool("hand");
  const port = pool.ports.to;
  const ports = { from: pool.ports.from, to: port - 1 };
  await pool.promote("v1", { web: web(), broker: broker(port) }, { ports });
  const steps = async (release: string): Promise<StepInput[]> => [
    {
      verb: "pool.start",
      pool: "hand",
      spec: await pool.spec(release, { web: web(), broker: broker(port) }, { ports }),
    },
    { verb: "pool.switch", pool: "hand" },
    { verb: "pool.follow", pool: "hand" },
  ];
  const killed = async () => {
    const { pid } = await client.about();
    send(pid, "SIGKILL");
    await until("the next agent", async () => (await client.about()).pid !== pid, PATIENT);
  };
  const only = (release: string) =>
    until(
      `the broker of ${release} alone`,
      async () => {
        const all = ((await client.pool("hand"))?.processes ?? []).filter(({ process }) => process === "broker");
        const [first, ...others] = all;
        return others.length === 0 && first?.release === release && first.state === "running";
      },
      PATIENT,
    );

  for (const [count, after] of ["its start", "the switch", "the start of the next one"].entries())
    await t.test(`after ${after}: the one before stays`, async () => {
      const { id } = await client.begin({ target: "pool/hand", owner: OWNER, leaseMs: 60_000 });
      for (const step of (await steps("v2")).slice(0, count + 1)) await client.step(id, step, () => undefined);
      await killed();
      await only("v1");
      assert.equal(await ask(port), "v1");
    });

  await t.test("right after the commit: the next one stays", async () => {
    const { id } = await client.begin({ target: "pool/hand", owner: OWNER, leaseMs: 60_000 });
    for (const step of await steps("v2")) await client.step(id, step, () => undefined);
    await client.commit(id);
    await killed();
    await only("v2");
    assert.equal(await ask(port), "v2");
  });
});
