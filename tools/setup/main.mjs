// @ts-check
import path from "node:path";
import { fileURLToPath } from "node:url";
import { refuseOldNode } from "./node-version.mjs";

refuseOldNode();
// Loaded only now: an older Node.js may not even be able to read it.
const { setupOrExit } = await import("./or-exit.mjs");
await setupOrExit(path.resolve(fileURLToPath(new URL("../..", import.meta.url))));
process.exit(0);
