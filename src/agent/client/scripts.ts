/** Oldest major version of Node.js that runs an agent. */
export const MIN_NODE = 20;

/** Environment variable in which an agent is told the Node.js that it was installed with. */
export const PINNED_NODE = "SLUICE_NODE";

/** A program that ends well where the Node.js that runs it is new enough. */
const IS_NEW_ENOUGH = `process.exit(parseInt(process.versions.node, 10) >= ${MIN_NODE} ? 0 : 1)`;

/**
 * Defines `assert_private STATE_FOLDER`: fails where others than root and the own user could replace the agent's program, one of
 * the folders that it lies in, or write to one that is not sticky. Before anything of the folder is run, so it can't lie there.
 */
export const ASSERT_PRIVATE = `is_own_group_alone() {
  [ "$(id -u)" -ne 0 ] && [ "$1" -eq "$(id -g)" ] && [ "$(id -gn)" = "$(id -un)" ] || return 1
  members=$({ getent group "$1" || grep "^[^:]*:[^:]*:$1:" /etc/group; } 2> /dev/null | cut -d: -f4)
  [ -z "$members" ] || [ "$members" = "$(id -un)" ]
}
assert_private() (
  cd -P -- "$1/bin" || exit 1
  while :; do
    set -- $(stat -c "%u %g 0%a" .)
    [ $# -eq 3 ] || exit 1
    owner=$1 group=$2 mode=$3
    others=$((mode & 022))
    if [ $others -eq $((020)) ] && is_own_group_alone "$group"; then others=0; fi
    if { [ "$owner" -ne 0 ] && [ "$owner" -ne "$(id -u)" ]; } || { [ $others -ne 0 ] && [ $((mode & 01000)) -eq 0 ]; }; then
      echo "the agent of guard $$ can't start: $(pwd -P) belongs to user $owner and has mode $mode, so that others could replace what it runs: let only root or user $(id -u) write there" >&2
      exit 1
    fi
    [ "$(pwd -P)" = / ] && exit 0
    cd ..
  done
)`;

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
 * the guard, 75 starts the version that is installed by then at once. A shell, since the agent's program and the Node.js that
 * runs it may both be replaced or gone by the next start. It ends no child with itself: an agent without a guard goes on.
 */
export const GUARD = `#!/bin/sh
# Keeps a Sluice agent running: GUARD STATE_FOLDER NODE
trap '' HUP
delay=0
log=$1/agent.log
${ASSERT_PRIVATE}
run() {
  assert_private "$1" || return
  if [ "$(wc -c < "$log")" -gt 1048576 ]; then tail -c 65536 "$log" > "$log.1"; : > "$log"; fi
  /bin/sh "$1/bin/start.sh" "$1" "$2"
}
while [ -e "$1/bin/agent.cjs" ]; do
  started=$(date +%s)
  run "$1" "$2"
  code=$?
  [ "$code" -eq 0 ] && exit 0
  if [ "$code" -eq 75 ] || [ $(($(date +%s) - started)) -ge 60 ]; then delay=0; continue; fi
  sleep "$delay"
  [ "$delay" -lt 10 ] && delay=$((delay + 1))
done
`;
