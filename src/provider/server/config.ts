import {
  type CheckRequest,
  CheckResponse,
  ConfigureResponse,
  type DiffRequest,
  DiffResponse,
} from "@pulumi/pulumi/proto/provider_pb";
import { marshal, type Properties, unmarshal } from "./values/value";

/** Keys that the engine itself puts among a provider's inputs. */
const ENGINE_KEYS = new Set(["version", "pluginDownloadURL", "pluginChecksums", "parameterization", "__internal"]);

/**
 * The provider has no settings of its own. The project is named like the provider, so the stack's whole config arrives
 * here, too; it is left out, or every change of it would show as a change of the provider.
 */
export function checkConfig(request: CheckRequest): CheckResponse {
  const response = new CheckResponse();
  response.setInputs(marshal(engineKeys(unmarshal(request.getNews()).value)));
  return response;
}

export function diffConfig(request: DiffRequest): DiffResponse {
  const old = engineKeys(unmarshal(request.getOldInputs() ?? request.getOlds()).value);
  const next = engineKeys(unmarshal(request.getNews()).value);
  const diffs = [...ENGINE_KEYS].filter((key) => JSON.stringify(old[key]) !== JSON.stringify(next[key]));
  const { DIFF_NONE, DIFF_SOME } = DiffResponse.DiffChanges;
  const response = new DiffResponse();
  response.setChanges(diffs.length > 0 ? DIFF_SOME : DIFF_NONE);
  response.setDiffsList(diffs);
  return response;
}

export function configureResponse(): ConfigureResponse {
  const response = new ConfigureResponse();
  response.setAcceptsecrets(true);
  response.setSupportspreview(true);
  response.setAcceptresources(false);
  response.setAcceptoutputs(true);
  response.setSupportsAutonamingConfiguration(false);
  return response;
}

function engineKeys(config: Properties): Properties {
  return Object.fromEntries(Object.entries(config).filter(([key]) => ENGINE_KEYS.has(key)));
}
