import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { BackendObservation } from "../../../src/agent/api/answers";
import type { AgentClient } from "../../../src/agent/client/client";
import { AgentError, UnreachableError, unreachable } from "../../../src/agent/client/connection";
import { observeBackend } from "../../../src/provider/checks/shared-status";

const backend = (name: string): BackendObservation => ({ name, edge: "main", live: { servers: {} } });

/** An agent's client by its two methods that looks use, which says what was asked of it. */
function fake(socket: string, status: () => Promise<Record<string, BackendObservation>>) {
  const requests: string[] = [];
  const client = {
    socket,
    status: async () => {
      requests.push("status");
      return { backends: await status() };
    },
    backend: async (edge: string, name: string) => {
      requests.push(`${edge}/${name}`);
      return name === "new" ? backend(name) : undefined;
    },
  };
  return { requests, client: client as unknown as AgentClient };
}

test("reads right after each other share one status", async () => {
  const { requests, client } = fake("/shared", async () => ({ "main/a": backend("a"), "main/b": backend("b") }));
  const ids = ["main/a", "main/b", "main/a"];
  const found = await Promise.all(ids.map((id) => observeBackend(client, id)));
  assert.deepEqual(
    found.map((one) => one?.name),
    ["a", "b", "a"],
  );
  assert.deepEqual(requests, ["status"]);
});

test("a status that took long is shared for longer", async () => {
  const { requests, client } = fake("/slow", async () => {
    await sleep(400);
    return { "main/a": backend("a") };
  });
  await observeBackend(client, "main/a");
  assert.equal((await observeBackend(client, "main/a"))?.name, "a");
  assert.deepEqual(requests, ["status"]);
});

test("a backend that the status does not show is asked for by itself before it counts as gone", async () => {
  const { requests, client } = fake("/by-name", async () => ({}));
  assert.equal((await observeBackend(client, "main/new"))?.name, "new");
  assert.equal(await observeBackend(client, "main/gone"), undefined);
  assert.deepEqual(requests, ["status", "main/new", "main/gone"]);
});

test("a status that fails leaves each backend to be asked for, unless the agent can't be reached", async () => {
  const failing = fake("/failing", () => Promise.reject(new AgentError("failed", "an edge does not answer")));
  assert.equal((await observeBackend(failing.client, "main/new"))?.name, "new");
  const away = fake("/away", () => Promise.reject(unreachable("/away", "ENOENT")));
  await assert.rejects(observeBackend(away.client, "main/new"), UnreachableError);
});
