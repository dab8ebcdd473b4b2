// Started by `programs.ts`: runs programs of stacks, one after the other, in a process that has loaded the SDK already. It is
// the SDK's own language host for programs in a process, which Pulumi's Automation API starts in the same way.
import path from "node:path";
import { Server, ServerCredentials, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { LanguageRuntimeService } from "@pulumi/pulumi/proto/language_grpc_pb";

interface RunRequest {
  getPwd(): string;
}

type Run = (call: { request: RunRequest }, callback: (error: Error | undefined, response: unknown) => void) => void;

/** Of the SDK, which declares no type for it. */
const { LanguageServer } = require("@pulumi/pulumi/automation/server") as {
  LanguageServer: new (program: () => Promise<unknown>) => { run: Run } & Record<string, unknown>;
};

/** Evaluates the program of a workspace anew; what it exports are the stack's outputs. */
async function evaluate(folder: string): Promise<object> {
  for (const file of Object.keys(require.cache)) if (file.startsWith(folder + path.sep)) delete require.cache[file];
  return { ...require(path.join(folder, "program.ts")) };
}

const run: Run = (call, callback) => new LanguageServer(() => evaluate(call.request.getPwd())).run(call, callback);

const { getRequiredPlugins, getPluginInfo } = new LanguageServer(async () => undefined);
const server = new Server();
server.addService(LanguageRuntimeService, { getRequiredPlugins, getPluginInfo, run } as UntypedServiceImplementation);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.send?.(port);
});
process.once("disconnect", () => process.exit());
