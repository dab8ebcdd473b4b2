import { PolicyPack } from "@pulumi/policy";
import { AnalyzerService } from "@pulumi/pulumi/proto/analyzer_grpc_pb";
import { policies } from "./all";
import { adapt } from "./support/adapt";
import { listenForStack } from "./support/stack";

listenForStack(AnalyzerService as unknown as Parameters<typeof listenForStack>[0]);
new PolicyPack("sluice", { policies: policies.map((policy) => adapt(policy, () => new Date())) });
