import * as pulumi from "@pulumi/pulumi";
import { HaproxyEdge, LocalHost } from "../../components";
import { Backend } from "../../src/provider/classes/backend";

const config = new pulumi.Config();
const host = new LocalHost("local");
const edge = new HaproxyEdge("main", {
  host,
  frontends: { http: { binds: [{ port: config.requireNumber("port") }], defaultBackend: "b1" } },
});
for (let number = 1; number <= config.requireNumber("backends"); number++) {
  new Backend(`b${number}`, {
    agent: edge.agent,
    edge: edge.edgeName,
    name: `b${number}`,
    servers: { a: { address: "127.0.0.1", port: config.getNumber("server") ?? 9 } },
  });
}
