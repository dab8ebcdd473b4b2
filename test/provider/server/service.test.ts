import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type ClientUnaryCall, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { ResourceProviderClient } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as proto from "@pulumi/pulumi/proto/provider_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import {
  type AnyResource,
  listen,
  marshal,
  type Properties,
  type Resource,
  UNKNOWN,
  unmarshal,
} from "../../../src/provider/server";
import { until } from "../../support/until";

const TYPE = "toy:index:Toy";
const URN = `urn:pulumi:dev::test::parent:index:P$${TYPE}::web`;

/** A resource that refuses every call but the ones that a test gives. */
function only(methods: Partial<Resource>): Resource {
  const refuse = async (): Promise<never> => {
    throw new Error("this call was not expected");
  };
  const none = { check: refuse, diff: refuse, create: refuse, read: refuse, update: refuse, delete: refuse };
  return { type: TYPE, ...none, ...methods };
}

async function serving(t: TestContext, resource: AnyResource): Promise<ResourceProviderClient> {
  const running = await listen({ name: "toy", version: "1.2.3", resources: async () => [resource] });
  const client = new ResourceProviderClient(`127.0.0.1:${running.port}`, credentials.createInsecure());
  t.after(() => {
    client.close();
    running.close();
  });
  return client;
}

/** Calls a method by its promise; of the generated overloads, TypeScript infers from the last and longest. */
function call<Request, Response>(
  client: ResourceProviderClient,
  method: (
    this: ResourceProviderClient,
    request: Request,
    metadata: Metadata,
    options: object,
    callback: (error: ServiceError | null, response: Response) => void,
  ) => ClientUnaryCall,
  request: Request,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    method.call(client, request, new Metadata(), {}, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

const creating = (inputs: Properties, secrets: string[][] = []) =>
  new proto.CreateRequest().setUrn(URN).setProperties(marshal(inputs, secrets));

const updating = (news: Properties) =>
  new proto.UpdateRequest()
    .setUrn(URN)
    .setId("id")
    .setNews(marshal(news))
    .setOlds(marshal({}))
    .setOldInputs(marshal({}));

test("the engine learns what the provider is and can do", async (t) => {
  const client = await serving(t, only({}));
  const handshake = new proto.ProviderHandshakeRequest().setEngineAddress("127.0.0.1:1");
  assert.deepEqual((await call(client, client.handshake, handshake)).toObject(), {
    acceptSecrets: true,
    acceptResources: false,
    acceptOutputs: true,
    supportsAutonamingConfiguration: false,
  });
  const configured = await call(client, client.configure, new proto.ConfigureRequest());
  assert.deepEqual([configured.getSupportspreview(), configured.getAcceptsecrets()], [true, true]);
  assert.equal((await call(client, client.getPluginInfo, new Empty())).getVersion(), "1.2.3");
  const schema = await call(client, client.getSchema, new proto.GetSchemaRequest());
  assert.deepEqual(JSON.parse(schema.getSchema()), { name: "toy", version: "1.2.3", resources: { [TYPE]: {} } });
});

test("the stack's config is no setting of the provider", async (t) => {
  const client = await serving(t, only({}));
  const request = new proto.CheckRequest().setUrn(URN).setNews(marshal({ version: "1.2.3", release: "v1" }));
  const checked = await call(client, client.checkConfig, request);
  assert.deepEqual(unmarshal(checked.getInputs()).value, { version: "1.2.3" });
});

test("a resource whose logical name no agent would take is refused by its check", async (t) => {
  const client = await serving(t, only({ check: async () => ({ failures: [], inputs: {} }) }));
  const failures = async (name: string) => {
    const request = new proto.CheckRequest().setUrn(`${URN}${name}`).setOlds(marshal({})).setNews(marshal({}));
    return (await call(client, client.check, request)).getFailuresList().map((failure) => failure.getReason());
  };
  assert.deepEqual(await failures("-a"), []);
  assert.deepEqual(await failures("\u001b[31m\nx"), [
    "its logical name, or a parent's, holds a control character: give it another name",
  ]);
  assert.deepEqual(await failures("x".repeat(1000)), [
    `its URN has ${URN.length + 1000} characters, 1000 at most: give it or its parents shorter names`,
  ]);
});

test("check gets plain values, and gives back secrets as secrets and every failure", async (t) => {
  const seen: unknown[] = [];
  const check: Resource["check"] = async (context, request) => {
    seen.push(request, context.secrets, context.name, context.type);
    const failures = [
      { property: "list[0]", reason: "is hunter2-hunter2" },
      { property: "", reason: "as a whole" },
    ];
    return { inputs: { ...request.news, env: { K: "v" } }, failures, secrets: ["env"] };
  };
  const client = await serving(t, only({ check }));
  const request = new proto.CheckRequest().setUrn(URN).setOlds(marshal({}));
  const response = await call(
    client,
    client.check,
    request.setNews(marshal({ token: "hunter2-hunter2" }, [["token"]])),
  );
  assert.deepEqual(seen, [{ olds: undefined, news: { token: "hunter2-hunter2" } }, ["token"], "web", TYPE]);
  assert.deepEqual(unmarshal(response.getInputs()), {
    value: { token: "hunter2-hunter2", env: { K: "v" } },
    secretPaths: [["env"], ["token"]],
  });
  assert.deepEqual(
    response.getFailuresList().map((failure) => failure.toObject()),
    [
      { property: "", reason: "list[0]: is [secret]" },
      { property: "", reason: "as a whole" },
    ],
  );
});

test("check with failures gives back no input that they have made unknown, which an update would refuse instead", async (t) => {
  const check: Resource["check"] = async (_, { news }) => ({
    inputs: { ...news, change: UNKNOWN, live: { splits: UNKNOWN } },
    failures: [{ property: "release.id", reason: "is missing" }],
  });
  const client = await serving(t, only({ check }));
  const request = new proto.CheckRequest()
    .setUrn(URN)
    .setOlds(marshal({ a: 1 }))
    .setNews(marshal({ a: 2 }));
  const response = await call(client, client.check, request);
  assert.deepEqual(unmarshal(response.getInputs()).value, { a: 2 });
  assert.deepEqual(
    response.getFailuresList().map((failure) => failure.getReason()),
    ["release.id: is missing"],
  );
});

test("create, read and update ask for a refresh before every update, and keep secrets", async (t) => {
  const outputs = { token: "hunter2-hunter2", command: "run hunter2-hunter2", n: 1 };
  const resource = only({
    create: async (context) => ({ id: context.preview ? "" : "id", outputs }),
    read: async (_, { id, inputs }) => (id === "gone" ? undefined : { id, inputs, outputs }),
    update: async () => outputs,
  });
  const client = await serving(t, resource);
  const secrets = [["token"]];
  const marked = { value: outputs, secretPaths: [["command"], ["token"]] };
  const created = await call(client, client.create, creating({ token: "hunter2-hunter2" }, secrets));
  assert.deepEqual([created.getId(), created.getRefreshBeforeUpdate()], ["id", true]);
  assert.deepEqual(unmarshal(created.getProperties()), marked);

  const reading = new proto.ReadRequest()
    .setUrn(URN)
    .setId("id")
    .setInputs(marshal({ token: "hunter2-hunter2" }, secrets));
  const read = await call(client, client.read, reading);
  assert.deepEqual([read.getId(), read.getRefreshBeforeUpdate()], ["id", true]);
  assert.deepEqual(unmarshal(read.getProperties()), marked);
  assert.deepEqual(unmarshal(read.getInputs()).secretPaths, secrets);
  assert.equal((await call(client, client.read, reading.setId("gone"))).getId(), "");

  const updated = await call(
    client,
    client.update,
    updating({}).setNews(marshal({ token: "hunter2-hunter2" }, secrets)),
  );
  assert.equal(updated.getRefreshBeforeUpdate(), true);
  assert.deepEqual(unmarshal(updated.getProperties()), marked);
});

test("a failure keeps its lines and causes, hides secrets, and is one that leaves the state known", async (t) => {
  const create = async (): Promise<never> => {
    throw new Error("web refused hunter2-hunter2\n  its last line", { cause: new Error("exit 1") });
  };
  const client = await serving(t, only({ create }));
  await assert.rejects(call(client, client.create, creating({ token: "hunter2-hunter2" }, [["token"]])), {
    code: status.FAILED_PRECONDITION,
    details: "web refused [secret]\n  its last line: exit 1",
  });
});

test("a message that is too long for the wire loses its middle", async (t) => {
  const create = async (): Promise<never> => {
    throw new Error(`first ${"ü€😀".repeat(5_000)} last`);
  };
  const client = await serving(t, only({ create }));
  await assert.rejects(call(client, client.create, creating({})), /first .*part of the message left out.* last$/s);
});

test("an operation is told to stop by its timeout, by cancel, and when its caller goes", async (t) => {
  const reasons: string[] = [];
  let waiting = 0;
  const update: Resource["update"] = (context) => {
    waiting += 1;
    return new Promise((_, reject) => {
      const stop = () => {
        reasons.push(context.signal.reason.message);
        reject(context.signal.reason);
      };
      if (context.signal.aborted) stop();
      else context.signal.addEventListener("abort", stop);
    });
  };
  const client = await serving(t, only({ update }));
  const cancelled = { code: status.CANCELLED };
  await assert.rejects(call(client, client.update, updating({}).setTimeout(0.05)), cancelled);

  const abandoned = client.update(updating({}), () => undefined);
  await until("the second update runs", () => waiting === 2);
  abandoned.cancel();
  await until("the second update is told", () => reasons.length === 2);

  const last = call(client, client.update, updating({}));
  await until("the third update runs", () => waiting === 3);
  await Promise.all([assert.rejects(last, cancelled), call(client, client.cancel, new Empty())]);
  await assert.rejects(call(client, client.update, updating({})), cancelled);
  await nextTurn();
  assert.deepEqual(reasons, ["timed out after 0.05 s", "the engine went away", "cancelled", "cancelled"]);
});

test("what the provider does not have is refused by name", async (t) => {
  const client = await serving(t, only({}));
  await assert.rejects(call(client, client.invoke, new proto.InvokeRequest()), {
    code: status.UNIMPLEMENTED,
    details: "provider toy has no functions to invoke",
  });
  const other = creating({}).setType("toy:index:Other");
  await assert.rejects(call(client, client.create, other), /no resource type toy:index:Other: it has toy:index:Toy/);
});
