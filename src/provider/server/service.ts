import { type ServerUnaryCall, type sendUnaryData, status, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { type PluginAttach, PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import {
  CheckFailure,
  type CheckRequest,
  CheckResponse,
  type CreateRequest,
  CreateResponse,
  type DeleteRequest,
  type DiffRequest,
  type DiffResponse,
  GetSchemaResponse,
  type ProviderHandshakeRequest,
  ProviderHandshakeResponse,
  type ReadRequest,
  ReadResponse,
  type UpdateRequest,
  UpdateResponse,
} from "@pulumi/pulumi/proto/provider_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import type { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { MAX_PURPOSE } from "../../model/protocol/transaction";
import { hasControl } from "../../model/types/names";
import { safeText } from "../../model/types/safe-text";
import { checkConfig, configureResponse, diffConfig } from "./config";
import type { EngineLog } from "./engine-log";
import { grpcError } from "./errors";
import type { Failure } from "./failures";
import type { Operations } from "./operations";
import type { AnyResource, Context } from "./resource";
import { Run } from "./run";
import { diffResponse } from "./values/diff";
import { type Path, parsePath, renderPath } from "./values/path";
import { Redactor } from "./values/redact";
import { containsUnknown } from "./values/unknown";
import { marshal, type Properties, type Unmarshalled, unmarshal } from "./values/value";

export interface ProviderDefinition {
  /** The package's name, such as `sluice`. */
  name: string;
  version: string;
  /** As a function, called once and after the port is printed, so that what the handlers load does not delay the engine. */
  resources: readonly AnyResource[] | (() => Promise<readonly AnyResource[]>);
}

/** Resource that a request is about; older engines send the URN alone. */
interface Subject {
  getUrn(): string;
  getName(): string;
  getType(): string;
}

/** Property bags of a request: `new` decides which outputs are secret, all of them what must not be shown. */
interface Bags {
  news: Unmarshalled;
  others: Unmarshalled[];
}

/** Serves the resource provider protocol (proto/pulumi/provider.proto) for a set of typed resources. */
export class ProviderService {
  #resources: Promise<ReadonlyMap<string, AnyResource>> | undefined;
  readonly #run = new Run();

  constructor(
    private readonly definition: ProviderDefinition,
    private readonly engine: EngineLog,
    private readonly operations: Operations,
  ) {}

  /** The service's methods, in the form that a grpc-js server takes. */
  implementation(): UntypedServiceImplementation {
    const { name } = this.definition;
    const absent = (what: string) => refuse(`provider ${name} has ${what}`);
    return {
      handshake: answer((request: ProviderHandshakeRequest) => this.#handshake(request)),
      attach: answer((request: PluginAttach) => this.#attach(request)),
      getPluginInfo: answer(() => new PluginInfo().setVersion(this.definition.version)),
      getSchema: answer(() => this.#schema()),
      checkConfig: answer(checkConfig),
      diffConfig: answer(diffConfig),
      configure: answer(() => {
        // A provider that is attached to serves one run after the other.
        this.#run.clear();
        return configureResponse();
      }),
      check: answer((request: CheckRequest, call) => this.#check(request, call)),
      diff: answer((request: DiffRequest, call) => this.#diff(request, call)),
      create: answer((request: CreateRequest, call) => this.#create(request, call)),
      read: answer((request: ReadRequest, call) => this.#read(request, call)),
      update: answer((request: UpdateRequest, call) => this.#update(request, call)),
      delete: answer((request: DeleteRequest, call) => this.#delete(request, call)),
      cancel: answer(() => {
        this.#run.silence();
        this.operations.stopAll("cancelled");
        return new Empty();
      }),
      invoke: absent("no functions to invoke"),
      call: absent("no methods to call"),
      construct: absent("no components of its own: they are classes of the program"),
      parameterize: absent("no parameters"),
      list: absent("no resources that can be listed"),
      getMapping: absent("no mappings from other tools"),
      getMappings: absent("no mappings from other tools"),
    };
  }

  /** Says what a preview that has ended would remove, of which the engine shows no more than that it is deleted. */
  async sayRemoved(): Promise<void> {
    const logging = this.#run.removed().map(({ urn, removal }) => {
      const log = this.engine.forResource(urn, (text) => text);
      log.warn(removal);
      return log.flush();
    });
    await Promise.all(logging);
  }

  /** Loads the resource handlers, once. */
  load(): Promise<ReadonlyMap<string, AnyResource>> {
    this.#resources ??= this.#load();
    return this.#resources;
  }

  async #load(): Promise<ReadonlyMap<string, AnyResource>> {
    const { resources } = this.definition;
    const loaded = typeof resources === "function" ? await resources() : resources;
    return new Map(loaded.map((resource) => [resource.type, resource]));
  }

  #handshake(request: ProviderHandshakeRequest): ProviderHandshakeResponse {
    this.engine.connect(request.getEngineAddress());
    const response = new ProviderHandshakeResponse();
    response.setAcceptSecrets(true);
    response.setAcceptResources(false);
    response.setAcceptOutputs(true);
    response.setSupportsAutonamingConfiguration(false);
    return response;
  }

  #attach(request: PluginAttach): Empty {
    this.engine.connect(request.getAddress());
    return new Empty();
  }

  /** Programs use the classes of this project, so nothing is generated from this; it names what there is. */
  async #schema(): Promise<GetSchemaResponse> {
    const { name, version } = this.definition;
    const resources = Object.fromEntries([...(await this.load()).keys()].map((type) => [type, {}]));
    return new GetSchemaResponse().setSchema(JSON.stringify({ name, version, resources }));
  }

  #check(request: CheckRequest, call: Call): Promise<CheckResponse> {
    const olds = unmarshal(request.getOlds());
    const news = unmarshal(request.getNews());
    return this.#operate(request, call, { news, others: [olds] }, {}, async (resource, context, redactor) => {
      // The engine sends an empty bag on create, as it has no way to say "none".
      const recorded = Object.keys(olds.value).length > 0 ? olds.value : undefined;
      const checked = await resource.check(context, { olds: recorded, news: news.value });
      checked.failures.push(...nameFailures(context));
      if (checked.failures.length === 0) checked.failures.push(...this.#declare(resource, checked.inputs, context));
      if (checked.failures.length > 0) this.#run.silence();
      const response = new CheckResponse();
      const secretPaths = [...news.secretPaths, ...(checked.secrets ?? []).map(parsePath)];
      response.setInputs(marshal(knownAs(news.value, checked.inputs), secretPaths, redactor.isSecretText));
      response.setFailuresList(
        // The engine looks a failure's property up among the top-level inputs and prints the value: of no use for a path
        // (it prints "<nil>"), and too much for a whole object. Without a property, it prints the reason alone.
        checked.failures.map(({ property, reason }) =>
          new CheckFailure().setReason(safeText(redactor.redact(property === "" ? reason : `${property}: ${reason}`))),
        ),
      );
      return response;
    });
  }

  #diff(request: DiffRequest, call: Call): Promise<DiffResponse> {
    const olds = unmarshal(request.getOlds());
    const oldInputs = unmarshal(request.getOldInputs());
    const news = unmarshal(request.getNews());
    const ignoreChanges = request.getIgnorechangesList();
    return this.#operate(request, call, { news, others: [olds, oldInputs] }, {}, async (resource, context) => {
      const difference = await resource.diff(context, {
        id: request.getId(),
        olds: olds.value,
        oldInputs: oldInputs.value,
        news: news.value,
        ignoreChanges,
      });
      return diffResponse(difference, ignoreChanges);
    });
  }

  #create(request: CreateRequest, call: Call): Promise<CreateResponse> {
    const news = unmarshal(request.getProperties());
    const options = { preview: request.getPreview(), timeoutSeconds: request.getTimeout() };
    if (!options.preview) this.#run.silence();
    return this.#operate(request, call, { news, others: [] }, options, async (resource, context, redactor) => {
      const created = await resource.create(context, { inputs: news.value });
      const response = new CreateResponse();
      response.setId(created.id ?? "");
      response.setProperties(outputs(created.outputs, news.secretPaths, redactor));
      response.setRefreshBeforeUpdate(true);
      return response;
    });
  }

  #read(request: ReadRequest, call: Call): Promise<ReadResponse> {
    const state = unmarshal(request.getProperties());
    const inputs = unmarshal(request.getInputs());
    return this.#operate(request, call, { news: inputs, others: [state] }, {}, async (resource, context, redactor) => {
      const read = await resource.read(context, { id: request.getId(), inputs: inputs.value, state: state.value });
      const response = new ReadResponse();
      // An empty id says that the resource is gone.
      if (read === undefined) return response;
      this.#run.knows({
        urn: context.urn,
        targets: targetsOf(resource, read.outputs),
        removal: resource.removal?.(read.outputs) ?? "",
      });
      response.setId(read.id);
      response.setInputs(outputs(read.inputs, inputs.secretPaths, redactor));
      response.setProperties(outputs(read.outputs, [...inputs.secretPaths, ...state.secretPaths], redactor));
      response.setRefreshBeforeUpdate(true);
      return response;
    });
  }

  #update(request: UpdateRequest, call: Call): Promise<UpdateResponse> {
    const olds = unmarshal(request.getOlds());
    const oldInputs = unmarshal(request.getOldInputs());
    const news = unmarshal(request.getNews());
    const bags = { news, others: [olds, oldInputs] };
    const options = { preview: request.getPreview(), timeoutSeconds: request.getTimeout() };
    if (!options.preview) this.#run.silence();
    return this.#operate(request, call, bags, options, async (resource, context, redactor) => {
      const id = request.getId();
      const change = { id, olds: olds.value, oldInputs: oldInputs.value, news: news.value };
      const updated = await resource.update(context, change);
      const response = new UpdateResponse();
      response.setProperties(outputs(updated, news.secretPaths, redactor));
      response.setRefreshBeforeUpdate(true);
      return response;
    });
  }

  #delete(request: DeleteRequest, call: Call): Promise<Empty> {
    const state = unmarshal(request.getProperties());
    const inputs = unmarshal(request.getOldInputs());
    const timeoutSeconds = request.getTimeout();
    const bags = { news: inputs, others: [state] };
    this.#run.silence();
    return this.#operate(request, call, bags, { timeoutSeconds }, async (resource, context) => {
      const id = request.getId();
      const targets = targetsOf(resource, state.value);
      const { declares } = this.#run;
      if (targets.length === 0 || !targets.every(declares)) {
        await resource.delete(context, { id, state: state.value, inputs: inputs.value, timeoutSeconds, declares });
        return new Empty();
      }
      context.log.info("stays as it runs, since the program declares it: only its record in the stack is another one");
      await resource.disown?.(context, { id, state: state.value });
      return new Empty();
    });
  }

  /** Notes what a program declares, and refuses what two of its resources declare: each would take it from the other. */
  #declare(resource: AnyResource, inputs: object, { urn }: Context): Failure[] {
    return targetsOf(resource, inputs).flatMap((target) => {
      const other = this.#run.declare(target, urn);
      if (other === urn) return [];
      const reason = `${target} is declared by ${other} too: give this one another name, or leave one of the two out`;
      return [{ property: "", reason }];
    });
  }

  /** Runs one request on the handler of its resource type, with everything that a handler may need. */
  async #operate<T>(
    subject: Subject,
    call: Call,
    bags: Bags,
    options: { preview?: boolean; timeoutSeconds?: number },
    work: (resource: AnyResource, context: Context, redactor: Redactor) => Promise<T>,
  ): Promise<T> {
    const redactor = new Redactor([bags.news, ...bags.others]);
    const urn = subject.getUrn();
    const type = subject.getType() || typeOf(urn);
    const log = this.engine.forResource(urn, (text) => redactor.redact(text));
    const abandoned = (abandon: () => void) => call.on("cancelled", abandon);
    try {
      return await this.operations.run(options.timeoutSeconds ?? 0, abandoned, async (signal) => {
        const context: Context = {
          urn,
          name: subject.getName() || urn.slice(urn.lastIndexOf("::") + 2),
          type,
          preview: options.preview ?? false,
          signal,
          log,
          secrets: bags.news.secretPaths.map(renderPath),
        };
        return await work(await this.#resource(type), context, redactor);
      });
    } catch (thrown) {
      this.#run.silence();
      if (thrown instanceof Error && thrown.stack) log.debug(thrown.stack);
      throw grpcError(thrown, (text) => redactor.redact(text));
    } finally {
      await log.flush();
    }
  }

  async #resource(type: string): Promise<AnyResource> {
    const resources = await this.load();
    const resource = resources.get(type);
    if (resource) return resource;
    const known = [...resources.keys()].join(", ");
    throw new Error(`provider ${this.definition.name} has no resource type ${type}: it has ${known}`);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: one helper serves every request and response type of the protocol.
type Call = ServerUnaryCall<any, any>;

/** A unary method from a function that returns or throws. */
function answer<Request, Response>(method: (request: Request, call: Call) => Response | Promise<Response>) {
  return (call: ServerUnaryCall<Request, Response>, respond: sendUnaryData<Response>): void => {
    const run = async () => method(call.request, call);
    run().then(
      (response) => respond(null, response),
      (thrown) => respond(isGrpcError(thrown) ? thrown : grpcError(thrown)),
    );
  };
}

/** Problems of a resource's own name and its parents', of which the engine takes any, and agents and logs do not. */
function nameFailures({ urn }: Context): Failure[] {
  const problems = [
    ...(hasControl(urn) ? ["its logical name, or a parent's, holds a control character: give it another name"] : []),
    ...(urn.length > MAX_PURPOSE
      ? [`its URN has ${urn.length} characters, ${MAX_PURPOSE} at most: give it or its parents shorter names`]
      : []),
  ];
  return problems.map((reason) => ({ property: "", reason }));
}

function refuse(message: string) {
  return (_call: Call, respond: sendUnaryData<unknown>): void => {
    respond({ code: status.UNIMPLEMENTED, details: message });
  };
}

function isGrpcError(thrown: unknown): thrown is { code: number; details: string } {
  return typeof thrown === "object" && thrown !== null && "code" in thrown && "details" in thrown;
}

function outputs(value: object, secretPaths: readonly Path[], redactor: Redactor): Struct {
  return marshal(value as Properties, secretPaths, redactor.isSecretText);
}

/**
 * Checked inputs without those that failures have made unknown: in an update the engine takes no unknown value, and would
 * tell of that instead of the failures.
 */
function knownAs(news: Properties, inputs: object): Properties {
  const kept = Object.entries(inputs).filter(([, value]) => containsUnknown(news) || !containsUnknown(value));
  return Object.fromEntries(kept);
}

/** Targets of checked inputs or of a state; none while they are not known. */
function targetsOf(resource: AnyResource, properties: object): string[] {
  return containsUnknown(properties) ? [] : (resource.targets?.(properties) ?? []);
}

/** `urn:pulumi:<stack>::<project>::<parent type>$<type>::<name>` */
function typeOf(urn: string): string {
  return (urn.split("::")[2] ?? "").split("$").at(-1) ?? "";
}
