import { fstatSync } from "node:fs";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { ResourceProviderService } from "@pulumi/pulumi/proto/provider_grpc_pb";
import { EngineLog } from "./engine-log";
import { Operations } from "./operations";
import { type ProviderDefinition, ProviderService } from "./service";

/** A whole stack of resources can be in one message, and the engine's own limit is 400 MiB. */
const MAX_MESSAGE_BYTES = 400 * 1024 * 1024;
/** The engine kills a plugin 5 s after it asked it to end. */
const END_GRACE_MS = 4_500;
/** With the engine dead nobody waits, but an undo that takes longer is the agents' to finish when the lease ends. */
const ORPHAN_GRACE_MS = 10_000;
const PARENT_CHECK_MS = 500;

export interface Running {
  port: number;
  operations: Operations;
  /** Says what there is to say when the engine ends a provider. */
  sayLast(): Promise<void>;
  close(): void;
}

/** Starts the provider's server on a loopback port of the system's choice. */
export async function listen(definition: ProviderDefinition): Promise<Running> {
  const engine = new EngineLog();
  const operations = new Operations();
  const service = new ProviderService(definition, engine, operations);
  const server = new Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  });
  server.addService(ResourceProviderService as never, service.implementation());
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const close = () => {
    server.forceShutdown();
    engine.close();
  };
  // Once the engine has the port, it takes a moment to call: the handlers load meanwhile. A failure to load is kept,
  // and answers every call.
  setImmediate(() => service.load().catch(() => undefined));
  return { port, operations, sayLast: () => service.sayRemoved(), close };
}

/**
 * The plugin's main program: serves until the engine ends it or dies, prints the port alone on standard output.
 * The engine ends a plugin with SIGINT; operations in flight are told to stop, undo, and get a bounded time for it.
 */
export async function serve(definition: ProviderDefinition): Promise<void> {
  // With the engine dead both streams are broken pipes, and the undo must go on without them.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  const running = await listen(definition);
  let ending = false;
  const end = async (reason: string, graceMs: number): Promise<void> => {
    if (ending) return;
    ending = true;
    running.operations.stopAll(reason);
    const [clean] = await Promise.all([running.operations.ended(graceMs), running.sayLast()]);
    process.exit(clean ? 0 : 1);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => void end(`the provider was told to end (${signal})`, END_GRACE_MS));
  }
  watchEngine(() => void end("the engine died", ORPHAN_GRACE_MS));
  process.stdout.write(`${running.port}\n`);
}

/** The engine holds the other end of standard input and never writes to it: its end is the engine's. */
function watchEngine(died: () => void): void {
  const input = fstatSync(0);
  if (input.isFIFO() || input.isSocket()) process.stdin.on("end", died).on("error", died).resume();
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) died();
  }, PARENT_CHECK_MS).unref();
}
