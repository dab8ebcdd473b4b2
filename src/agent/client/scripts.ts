/** Oldest major version of Node.js that runs an agent. */
export const MIN_NODE = 20;

/** Environment variable in which an agent is told the Node.js that it was installed with. */
export const PINNED_NODE = "SLUICE_NODE";

/** A program that ends well where the Node.js that runs it is new enough. */
const IS_NEW_ENOUGH = `process.exit(parseInt(process.versions.node, 10) >= ${MIN_NODE} ? 0 : 1)`;

/**
 * Becomes an agent: by the Node.js that it was installed with or, where that is gone or too old by now (version managers
 * remove the ones that nobody uses any more), by the first on PATH that is new enough.
 */
export const START = `#!/bin/sh
# Becomes a Sluice agent: START STATE_FOLDER NODE
state=$1
${PINNED_NODE}=$2
export ${PINNED_NODE}
try() {
  if "$1" -e '${IS_NEW_ENOUGH}' 2> /dev/null; then
    exec "$1" --enable-source-maps "$state/bin/agent.cjs" "$state"
  fi
}
try "$2"
set -f
IFS=:
for folder in $PATH; do try "$folder/node"; done
echo "the agent of guard $PPID can't start: $2 is no Node.js >= ${MIN_NODE} any more, and none is on PATH ($PATH): install one" >&2
exit 1
`;

/**
 * Restarts the agent when it dies, whatever ends it; the processes that it runs do not depend on either. Exit code 0 ends
 * the guard, 75 starts the version that is installed by then at once.
 */
export const GUARD = `#!/bin/sh
# Keeps a Sluice agent running: GUARD STATE_FOLDER NODE
trap '' HUP
delay=0
log=$1/agent.log
while [ -e "$1/bin/agent.cjs" ]; do
  if [ "$(wc -c < "$log")" -gt 1048576 ]; then tail -c 65536 "$log" > "$log.1"; : > "$log"; fi
  started=$(date +%s)
  /bin/sh "$1/bin/start.sh" "$1" "$2"
  code=$?
  [ "$code" -eq 0 ] && exit 0
  if [ "$code" -eq 75 ] || [ $(($(date +%s) - started)) -ge 60 ]; then delay=0; continue; fi
  sleep "$delay"
  [ "$delay" -lt 10 ] && delay=$((delay + 1))
done
`;
