// @ts-check

const OLDEST_NODE_MAJOR = 20;

/** Ends the process with a clear message on a Node.js that Sluice does not run on. Itself written for very old ones. */
export function refuseOldNode(version = process.versions.node) {
  if (Number(version.split(".")[0]) >= OLDEST_NODE_MAJOR) return;
  console.error(`✗ Node.js: ${version} is older than ${OLDEST_NODE_MAJOR}`);
  console.error(`  What to do: install Node.js >= ${OLDEST_NODE_MAJOR} (https://nodejs.org) and run this again`);
  process.exit(1);
}
