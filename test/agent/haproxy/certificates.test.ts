import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { certificatesOf } from "../../../src/agent/haproxy/config/certificates";
import { freePorts } from "../../support/ports";
import { TestEdge, upstream, web } from "./support/edge";

test("a certificate that is gone, or that clients refuse, is a problem of its edge", async (t) => {
  const edge = await TestEdge.open(t);
  const a = await upstream(t, "a");
  const certificate = join(edge.directory, "certificate.pem");
  const subject = ["-subj", "/CN=x", "-days", "30", "-keyout", `${certificate}.key`, "-out", certificate];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject], { stdio: "ignore" });
  const good = (await readFile(`${certificate}.key`, "utf8")) + (await readFile(certificate, "utf8"));
  await writeFile(certificate, good);
  const port = await freePorts(1);
  const spec = edge.spec({ frontends: { web: { binds: [{ port, tls: { certificate } }], defaultBackend: "web" } } });
  await edge.haproxy.apply(spec, web({ a: a.port }));
  assert.deepEqual((await edge.haproxy.observe()).certificates, []);

  await rm(certificate);
  const [gone] = (await edge.haproxy.observe()).certificates ?? [];
  assert.match(gone?.problem ?? "", /its certificate \S+ can't be read \(ENOENT.*until the file is put back$/);
  assert.equal(gone?.refused, false);

  await writeFile(certificate, good);
  const later = new Date(Date.now() + 31 * 24 * 3_600_000);
  const [expired] = await certificatesOf(spec, later);
  assert.match(expired?.problem ?? "", /its certificate \S+ expired on .*: put a good one there, then run pulumi up$/);
  assert.equal(expired?.refused, true);
  const [early] = await certificatesOf(spec, new Date(0));
  assert.match(early?.problem ?? "", /its certificate \S+ is good from /);
});
