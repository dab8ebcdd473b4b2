import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cleanup } from "./agent";
import { freePorts, isFree } from "./ports";
import { until } from "./until";

/** Why tests that need nginx are skipped here; `false` where it is installed. */
export const withoutNginx: string | false =
  spawnSync("nginx", ["-v"]).status === 0 ? false : "no nginx on PATH: install it (apt-get install nginx)";

/**
 * A real nginx with a certificate of its own, on a free port of the loopback address.
 *
 * @param http what its `http` block holds: made for `listen 443`, with the certificate in /etc/ssl/app.pem and app.key
 */
export async function startNginx(t: Cleanup, http: string): Promise<{ port: number; log(): string }> {
  const folder = await mkdtemp(join(tmpdir(), "sl-nginx-"));
  const port = await freePorts(1);
  const [key, certificate] = [join(folder, "app.key"), join(folder, "app.pem")];
  const subject = ["-subj", "/CN=app.example.com", "-days", "2"];
  const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", ...subject];
  execFileSync("openssl", [...request, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  const own = http
    .replace("listen 443", `listen 127.0.0.1:${port}`)
    .replace("/etc/ssl/app.pem", certificate)
    .replace("/etc/ssl/app.key", key);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((one) => `${one}_temp_path ${folder}/t;`);
  const config = join(folder, "nginx.conf");
  await writeFile(
    config,
    `daemon off;\npid ${folder}/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n${temporary.join("\n")}\n${own}}\n`,
  );
  const child = spawn("nginx", ["-p", folder, "-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  let output = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  t.after(async () => {
    child.kill("SIGTERM");
    await exited;
    await rm(folder, { recursive: true, force: true });
  });
  await until("nginx listens", async () => {
    if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode}: ${output}`);
    return !(await isFree(port));
  });
  return { port, log: () => output };
}
