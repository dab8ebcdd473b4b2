import type { AnalyzerStackConfigureRequest } from "@pulumi/pulumi/proto/analyzer_pb";

/** The stack that is judged, as the engine describes it. */
export interface Stack {
  name: string;
  project: string;
  /** Its config, secrets included: never to be shown. */
  config: Readonly<Record<string, string>>;
  /** Keys of the config whose values are secret. */
  secretKeys: readonly string[];
  preview: boolean;
}

let described: Stack = { name: "", project: "", config: {}, secretKeys: [], preview: false };

/** The stack, once the engine has described it, which it does before the first resource. */
export function stack(): Stack {
  return described;
}

/**
 * Reads the engine's description of the stack on its way to the SDK, which passes on the tags alone: policies could not
 * know which config is secret.
 *
 * @param service the SDK's own table of the analyzer's methods
 */
export function listenForStack(service: {
  configureStack: { requestDeserialize: (bytes: Buffer) => AnalyzerStackConfigureRequest };
}): void {
  const { configureStack } = service;
  const { requestDeserialize } = configureStack;
  configureStack.requestDeserialize = (bytes) => {
    const request = requestDeserialize.call(configureStack, bytes);
    described = {
      name: request.getStack(),
      project: request.getProject(),
      config: Object.fromEntries(request.getConfigMap().entries()),
      secretKeys: request.getConfigSecretKeysList(),
      preview: request.getDryRun(),
    };
    return request;
  };
}
